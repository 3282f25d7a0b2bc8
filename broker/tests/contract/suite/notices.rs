//! Notices to all processes, and counting what waits.

use broker::{Due, Lane, Notices, Queue, Target};
use schemas::{HeaderValue, wire};

use crate::{
    fixture::{Fixture, eventually},
    story::{FAST, ingest, ingest_slow, lane, message, publish, take},
};

pub(crate) async fn a_notice_reaches_every_listener<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    broker.announce("before anybody listens".into());
    let (mut one, mut other) = (broker.notices(), broker.notices());
    broker.announce("look again".into());
    until_heard(&mut one, "look again").await;
    until_heard(&mut other, "look again").await;
}

pub(crate) async fn notices_come_whole_and_in_order<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let mut notices = broker.notices();
    let long = "é".repeat(200_000);
    for notice in ["", long.as_str(), "the end"] {
        broker.announce(notice.to_owned().into());
    }
    for notice in ["", long.as_str(), "the end"] {
        assert!(eventually("a notice comes", notices.next()).await.expect("the broker is open") == notice);
    }
}

pub(crate) async fn what_waits_in_the_lanes_is_counted_by_its_headers<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let hour = fixture.clock()() + 3_600_000;
    for (to, id, endpoint) in [
        (lane(Lane::Fast), 1, "crm"),
        (lane(Lane::Slow), 2, "crm"),
        (Target::Lane(Lane::Slow, Some(Due { at: hour, exact: false })), 3, "crm"),
        (lane(Lane::Fast), 4, "crm2"),
        (ingest(), 5, "crm"),
        (ingest_slow(), 6, "crm"),
    ] {
        let mut message = message(id);
        message.headers.set("carteiro-tenant", HeaderValue::Text("acme".into()));
        message.headers.set("carteiro-endpoint", HeaderValue::Text(endpoint.into()));
        // This text looks like the wanted header, within another one.
        message.headers.set("carteiro-ticket", HeaderValue::Text("carteiro-endpoint\u{3}\0\0\0crm".into()));
        publish(&*broker, &to, &message).await;
    }
    // A message that is handed out counts too, until it is settled.
    let mut consumer = broker.consume(FAST, 1.into());
    let _held = take(&mut consumer).await;
    let crm = [("carteiro-tenant", "acme"), ("carteiro-endpoint", "crm")];
    let Some(counted) = broker.waiting(&crm).await.expect("it can be looked into") else {
        assert!(!fixture.features().precise, "only a queue of RabbitMQ's cannot be looked into");
        return;
    };
    assert_eq!(counted, 3);
    for (with, expected) in [(&[("carteiro-endpoint", "nobody")][..], 0), (&[], 4)] {
        assert_eq!(broker.waiting(with).await.expect("it can be looked into"), Some(expected), "{with:?}");
    }
}

pub(crate) async fn what_waits_in_each_queue_is_counted<F: Fixture>() {
    let fixture = F::start().await;
    let (broker, now) = (fixture.broker(), fixture.clock()());
    let later = Target::Lane(Lane::Slow, Some(Due { at: now + 3_600_000, exact: false }));
    for (to, id) in [
        (ingest(), 1),
        (ingest(), 2),
        (ingest_slow(), 3),
        (lane(Lane::Fast), 4),
        (lane(Lane::Fast), 5),
        (lane(Lane::Fast), 6),
        (later, 7),
    ] {
        let mut message = message(id);
        message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(now).expect("a time") - 5));
        publish(&*broker, &to, &message).await;
    }
    let mut consumer = broker.consume(FAST, 1.into());
    let _held = take(&mut consumer).await;
    // RabbitMQ's numbers are those of a moment ago.
    let settled = async {
        loop {
            let counts = broker.queue_counts().await.expect("they can be counted");
            let waiting: Vec<_> = counts.queues.iter().map(|count| (count.queue, count.waiting)).collect();
            let [ingest, ingest_slow, fast, slow] = Queue::ALL;
            if waiting == [(ingest, 2), (ingest_slow, 1), (fast, 2), (slow, 0)] && counts.delayed == 1 {
                return counts;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let counts = eventually("all is counted", settled).await;
    for count in counts.queues {
        let consumers = u32::from(count.queue == FAST);
        assert!(count.consumers.is_none_or(|there| there == consumers), "{count:?}");
        let oldest = (count.waiting > 0).then_some(now - 5);
        assert!(count.oldest_since == oldest || !fixture.features().precise, "{count:?}");
    }
}

async fn until_heard(notices: &mut Notices, what: &str) {
    let heard = async { while notices.next().await.expect("the broker is open") != what {} };
    eventually("a notice is heard", heard).await;
}
