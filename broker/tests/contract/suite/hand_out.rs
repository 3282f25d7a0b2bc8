//! Handing out and taking back.

use std::{sync::Arc, time::Duration};

use broker::{
    Broker, ConsumerStatus, Handler, Incoming, Lane, Log, Prefetch, PublishError, Queue, Record, Settlement,
    records::{read_parked, requeued},
    run_handler,
};
use bytes::Bytes;
use futures_util::FutureExt;
use schemas::{HeaderValue, Headers, Message, ParkReason, wire::TENANT};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{Fixture, eventually},
    story::{FAST, SLOW, ingest, ingest_slow, lane, message, publish, publish_all, read, take, take_all},
};

pub(crate) async fn a_message_arrives_as_it_was_published<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let mut headers = Headers::default();
    headers.set("carteiro-attempt", HeaderValue::Int(i64::MIN));
    headers.set("carteiro-part", HeaderValue::Text("".into()));
    headers.set("carteiro-tenant", HeaderValue::Text("São João".into()));
    headers.set("traceparent", HeaderValue::Text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()));
    let body = Bytes::from_static(b"{\"text\":\"ol\xc3\xa1\"}\0\xff\r\n");
    let sent = Message { id: "0198c0de-0000".into(), kind: "message.received".into(), headers, body };
    publish(&*broker, &ingest(), &sent).await;
    let incoming = take(&mut broker.consume(Queue::Ingest, 10.into())).await;
    assert_eq!(sorted(&incoming.message), sorted(&sent));
    assert_eq!(incoming.key, "acme.7.12.ticket.created");
    assert_eq!((incoming.redelivered, incoming.count), (false, 0));
    incoming.settle(Settlement::Done);

    let bare = Message { id: "bare".into(), ..Message::default() };
    publish(&*broker, &lane(Lane::Slow), &bare).await;
    let incoming = take(&mut broker.consume(SLOW, 10.into())).await;
    assert_eq!(incoming.message, bare);
    assert_eq!(incoming.key, "slow");
}

pub(crate) async fn an_event_put_aside_arrives_as_it_was_and_not_among_the_others<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let mut sent = message("aside");
    sent.headers.set(TENANT, HeaderValue::Text("acme".into()));
    publish(&*broker, &ingest_slow(), &sent).await;
    publish(&*broker, &ingest(), &message("other")).await;
    let others = take_all(&mut broker.consume(Queue::Ingest, 10.into()), ["other"]).await;
    assert!(!others.contains("aside"));
    let incoming = take(&mut broker.consume(Queue::IngestSlow, 10.into())).await;
    assert_eq!((sorted(&incoming.message), incoming.key.as_str()), (sorted(&sent), "acme.7.12.ticket.created"));
    incoming.settle(Settlement::Done);
}

pub(crate) async fn a_large_body_arrives_whole<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let body: Bytes = (0..8 * 1024 * 1024_u32).map(|place| place.to_le_bytes()[usize::from(place % 3 == 0)]).collect();
    let large = Message { body, ..message("large") };
    publish(&*broker, &lane(Lane::Fast), &large).await;
    assert!(take(&mut broker.consume(FAST, 1.into())).await.message == large, "8 MiB differ");
}

pub(crate) async fn a_message_dropped_unsettled_comes_again_and_says_so<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish(&*broker, &ingest(), &message(1)).await;
    let mut consumer = broker.consume(Queue::Ingest, 1.into());
    for count in 0..4 {
        let incoming = take(&mut consumer).await;
        assert_eq!(incoming.message, message(1));
        assert_eq!((incoming.redelivered, incoming.count), (count > 0, count));
        drop(incoming);
    }
}

pub(crate) async fn a_message_given_back_comes_again<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish_all(&*broker, &lane(Lane::Fast), 0..20).await;
    let mut consumer = broker.consume(FAST, 5.into());
    let first = take(&mut consumer).await;
    let again = first.message.id.clone();
    first.settle(Settlement::Again);
    loop {
        let incoming = take(&mut consumer).await;
        if incoming.message.id == again && incoming.redelivered {
            assert_eq!(incoming.count, 1);
            break;
        }
        incoming.settle(Settlement::Done);
    }
}

pub(crate) async fn a_dropped_consumer_gives_back_what_it_had_not_read<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish_all(&*broker, &lane(Lane::Fast), 0..20).await;
    let mut first = broker.consume(FAST, 20.into());
    let held = take(&mut first).await;
    drop(first);
    drop(held);
    take_all(&mut broker.consume(FAST, 20.into()), 0..20).await;
}

pub(crate) async fn a_message_can_be_settled_after_its_consumer_is_gone<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish(&*broker, &lane(Lane::Fast), &message("settled")).await;
    let mut first = broker.consume(FAST, 1.into());
    let held = take(&mut first).await;
    drop(first);
    held.settle(Settlement::Done);
    // If the message were given back, it would come first, or with these.
    publish_all(&*broker, &lane(Lane::Fast), 0..20).await;
    let came = take_all(&mut broker.consume(FAST, 1.into()), 0..20).await;
    assert!(!came.contains("settled"));
}

pub(crate) async fn consumers_share_and_none_holds_more_than_its_prefetch<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let mut consumers = [broker.consume(Queue::Ingest, 3.into()), broker.consume(Queue::Ingest, 2.into())];
    publish_all(&*broker, &ingest(), 0..30).await;
    let mut held = Vec::new();
    for (consumer, prefetch) in consumers.iter_mut().zip([3, 2]) {
        for _ in 0..prefetch {
            held.push(take(consumer).await);
        }
    }
    // A third consumer gets one message after the other, so it is not for lack of messages or time that the others get none.
    let mut third = broker.consume(Queue::Ingest, 1.into());
    for _ in 0..10 {
        take(&mut third).await.settle(Settlement::Done);
    }
    drop(third);
    for consumer in &mut consumers {
        assert!(consumer.next().now_or_never().is_none(), "more than its prefetch was handed out");
    }
    for incoming in held {
        incoming.settle(Settlement::Done);
    }
    // Freed prefetch flows again, to both.
    for consumer in &mut consumers {
        take(consumer).await.settle(Settlement::Done);
    }
}

pub(crate) async fn a_consumer_holds_no_more_bytes_than_its_prefetch<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let body = Bytes::from(vec![b'x'; 256 * 1024]);
    for n in 0..30 {
        publish(&*broker, &lane(Lane::Fast), &Message { body: body.clone(), ..message(n) }).await;
    }
    let mut consumer = broker.consume(FAST, Prefetch { messages: 30, bytes: 4 * body.len() });
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(take(&mut consumer).await);
    }
    let mut other = broker.consume(FAST, 1.into());
    for _ in 0..10 {
        take(&mut other).await.settle(Settlement::Done);
    }
    drop(other);
    assert!(consumer.next().now_or_never().is_none(), "more than its bytes were handed out");
    let first = held.iter().map(|incoming| incoming.message.id.clone()).collect::<Vec<_>>();
    for incoming in held {
        incoming.settle(Settlement::Done);
    }
    for _ in 0..16 {
        let incoming = take(&mut consumer).await;
        assert!(!first.contains(&incoming.message.id));
        incoming.settle(Settlement::Done);
    }
}

pub(crate) async fn a_full_fast_lane_does_not_hold_up_the_slow_one<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish_all(&*broker, &lane(Lane::Fast), 0..50).await;
    let mut fast = broker.consume(FAST, 1.into());
    let stuck = take(&mut fast).await;
    publish_all(&*broker, &lane(Lane::Slow), 100..110).await;
    take_all(&mut broker.consume(SLOW, 10.into()), 100..110).await;
    drop(stuck);
    take_all(&mut fast, 0..50).await;
}

pub(crate) async fn an_event_given_back_too_often_is_parked<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    for (to, from) in [(ingest(), Queue::Ingest), (ingest_slow(), Queue::IngestSlow)] {
        let poison = message(from.name());
        publish(&*broker, &to, &poison).await;
        let record = &give_back_for_ever(&*broker, from, &poison.id).await;
        assert_eq!(record.message.headers.text("carteiro-record"), None, "readers derive the reason");
        assert_eq!(read_parked(record).reason, ParkReason::DeliveryLimit);
        let (to, again) = requeued(record).expect("its key is known");
        assert_eq!((to, sorted(&again)), (ingest(), sorted(&poison)), "it can be routed again as it was");
    }
}

pub(crate) async fn a_delivery_given_back_too_often_is_parked<F: Fixture>() {
    let fixture = F::start().await;
    let mut poison = message("poison");
    poison.headers.set(TENANT, HeaderValue::Text("acme".into()));
    let broker = fixture.broker();
    publish(&*broker, &lane(Lane::Slow), &poison).await;
    let parked = give_back_for_ever(&*broker, SLOW, &poison.id).await.message;
    assert_eq!((&parked.id, &parked.body), (&poison.id, &poison.body));
    assert_eq!(parked.headers.text(TENANT), Some("acme"));
}

/// Gives everything back until one was handed out as often as it may be, and waits for the record of the message with
/// this id.
async fn give_back_for_ever(broker: &dyn Broker, at: Queue, id: &str) -> Record {
    let mut consumer = broker.consume(at, 1.into());
    let mut count = 0;
    while count < at.delivery_limit() {
        let incoming = take(&mut consumer).await;
        count = incoming.count;
        incoming.settle(Settlement::Again);
    }
    assert_eq!(count, at.delivery_limit(), "it was handed out more often than it may be");
    eventually("it is parked", async {
        loop {
            let records = read(broker, Log::Parked, 0).await;
            if let Some(record) = records.into_iter().find(|record| record.message.id == id) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Settles all it is handed.
struct Settles(watch::Sender<usize>);

impl Handler for Settles {
    async fn handle(&self, _: &Incoming) -> Settlement {
        self.0.send_modify(|count| *count += 1);
        Settlement::Done
    }

    async fn panicked(&self, _: &Incoming) -> Settlement {
        Settlement::Done
    }
}

pub(crate) async fn a_running_role_is_granted_its_consumer_and_gets_somewhere<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let status = ConsumerStatus::new(broker.connection_state(), Instant::now());
    let (count, mut counted) = watch::channel(0);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let consumer = broker.consume(FAST, 1_000.into());
    let working =
        tokio::spawn(run_handler(Queue::Lane(Lane::Fast), consumer, Arc::new(Settles(count)), stopped, status.clone()));
    publish_all(&*broker, &lane(Lane::Fast), 0..20).await;
    eventually("all are handled", counted.wait_for(|count| *count >= 20)).await.expect("it works");
    eventually("its consumer is granted", async {
        while status.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(status.alive(Instant::now()), Ok(()));
    stop.cancel();
    eventually("it ends", working).await.expect("no panic");
    eventually("it closes", broker.close()).await;
}

pub(crate) async fn a_closed_broker_takes_nothing_and_ends_its_consumers<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    publish(&*broker, &ingest(), &message(1)).await;
    let mut consumer = broker.consume(Queue::Ingest, 1.into());
    take(&mut consumer).await.settle(Settlement::Done);
    eventually("it closes", broker.close()).await;
    let refused = eventually("a publish is answered", broker.publish(&ingest(), &message(2))).await;
    assert!(matches!(refused, Err(PublishError::Away(_))), "{refused:?}");
    assert!(eventually("the consumer ends", consumer.next()).await.is_none());
}

/// Headers have no order.
fn sorted(message: &Message) -> (&str, &str, Vec<(&str, &HeaderValue)>, &[u8]) {
    let mut headers: Vec<_> = message.headers.iter().collect();
    headers.sort_by_key(|(name, _)| *name);
    (&message.id, &message.kind, headers, &message.body)
}
