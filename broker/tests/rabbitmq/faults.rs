//! Faults of a broker or of a connection, on nodes of their own: alarms
//! (docs/rabbitmq.md#an-alarm-blocks-acknowledgements-too), cuts, crashes, refusals.

use std::{fs, pin::pin, sync::Arc, time::Duration};

use broker::{
    Broker, ConnectionState, Deadline, Lane, Log, Logs, PublishError, Queue, Settlement, Target,
    publish_until_confirmed, rabbitmq, records::read_dead_letter,
};
use futures_util::{FutureExt as _, future::join_all};
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use schemas::{DeadReason, Delivery, HeaderValue, Part};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{Fixture, TIMEOUT, connect, message, next, take_all, unique},
    node::Node,
};

const FAST: Target = Target::Lane(Lane::Fast, None);

async fn node() -> &'static Node {
    let node = tokio::task::spawn_blocking(Node::start).await.expect("a node");
    // The node is kept until the process ends. Dropping the handle would not stop it either.
    Box::leak(Box::new(node))
}

async fn on(node: &'static Node, act: impl FnOnce(&Node) + Send + 'static) {
    tokio::task::spawn_blocking(move || act(node)).await.expect("done");
}

fn for_ever() -> (CancellationToken, Deadline) {
    let sender = CancellationToken::new();
    let stop = sender.clone();
    (sender, Deadline { stop, limit: None })
}

/// Publishes these ids at once, each until it is confirmed.
async fn publish_all(fixture: &Fixture, ids: &[String]) {
    let (_running, deadline) = for_ever();
    let publishes = ids.iter().map(|id| {
        let deadline = deadline.clone();
        async move { publish_until_confirmed(&fixture.broker, &FAST, &message(id), deadline).await }
    });
    for answer in timeout(TIMEOUT, join_all(publishes)).await.expect("in time") {
        answer.expect("confirmed");
    }
}

fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// This is one test, since a node takes seconds to start. Each part ends with a working node, which the next one needs.
#[tokio::test(flavor = "multi_thread")]
async fn alarms_cuts_and_crashes_are_waited_out_and_lose_nothing() {
    let node = node().await;
    let fixture = Fixture::start_on(&node.url).await;
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Fast), 10.into());
    publish_waiting(&fixture).await;

    alarm(node, &fixture, &mut consumer).await;
    cut(node, &fixture, &mut consumer).await;
    too_large(node, &fixture, &mut consumer).await;
    too_large_while_it_waits(&fixture).await;
    crash(node, &fixture, &mut consumer).await;
}

/// An alarm blocks publishing, visibly and at once; acknowledging goes on.
async fn alarm(node: &'static Node, fixture: &Fixture, consumer: &mut broker::Consumer) {
    publish_all(fixture, &ids("before", 30)).await;
    on(node, |node| node.ctl(&["set_vm_memory_high_watermark", "0.00001"])).await;
    // The broker blocks connections that publish, and the liveness probes do so all the time.
    fixture.until(|state| matches!(state, ConnectionState::Blocked(_))).await;
    let refused = timeout(Duration::from_secs(1), fixture.broker.publish(&FAST, &message("refused"))).await;
    assert!(matches!(refused, Ok(Err(PublishError::Blocked(_)))), "{refused:?}");
    // Three times the prefetch: more only comes if acknowledgements are read.
    take_all(consumer, ids("before", 30)).await;
    // A session can also begin during an alarm: consuming is what lets the broker recover.
    let cutting = on(node, |node| node.ctl(&["close_all_connections", "a test"]));
    tokio::join!(cutting, fixture.until(|state| matches!(state, ConnectionState::Away(_))));
    fixture.until(|state| matches!(state, ConnectionState::Blocked(_))).await;

    on(node, |node| node.ctl(&["set_vm_memory_high_watermark", "0.4"])).await;
    fixture.until(|state| *state == ConnectionState::Ready).await;
    publish_all(fixture, &ids("after", 10)).await;
    take_all(consumer, ids("after", 10)).await;
}

/// All connections are cut under load: what was not confirmed is published again, what was not settled comes again.
async fn cut(node: &'static Node, fixture: &Fixture, consumer: &mut broker::Consumer) {
    let mut notices = fixture.broker.notices();
    publish_all(fixture, &ids("held", 1)).await;
    let held = next(consumer).await;
    let ids = ids("cut", 2000);
    let cutting = on(node, |node| node.ctl(&["close_all_connections", "a test"]));
    let taking = take_all(consumer, ids.clone());
    tokio::join!(publish_all(fixture, &ids), taking, cutting);
    assert_eq!(held.message.id, "held-0");
    held.settle(Settlement::Done);
    // A listener from before the cut hears notices again, without subscribing anew.
    fixture.until(|state| *state == ConnectionState::Ready).await;
    fixture.broker.announce("we are back".into());
    let heard = timeout(TIMEOUT, notices.next()).await.expect("in time");
    assert_eq!(heard.expect("the broker is open"), "we are back");
}

/// The first body that this broker does not take costs one session. Any body above the broker's limit is refused from
/// then on without being sent.
async fn too_large(node: &'static Node, fixture: &Fixture, consumer: &mut broker::Consumer) {
    // A channel reads the limit when it is opened, on 4.x from the persistent term.
    const LIMIT: &str =
        "application:set_env(rabbit, max_message_size, 100000), persistent_term:put(max_message_size, 100000).";
    on(node, |node| node.ctl(&["eval", LIMIT])).await;
    let cutting = on(node, |node| node.ctl(&["close_all_connections", "a test"]));
    tokio::join!(cutting, fixture.until(|state| matches!(state, ConnectionState::Away(_))));
    fixture.until(|state| *state == ConnectionState::Ready).await;
    let of = |size: usize| schemas::Message { body: vec![b'x'; size].into(), ..message(&format!("large-{size}")) };
    let (_running, deadline) = for_ever();
    let (first, fast) = (of(200_000), FAST);
    let refusing = publish_until_confirmed(&fixture.broker, &fast, &first, deadline);
    let (refused, _) = tokio::join!(refusing, fixture.until(|state| matches!(state, ConnectionState::Away(_))));
    assert_eq!(refused, Err(PublishError::TooLarge));
    fixture.until(|state| *state == ConnectionState::Ready).await;
    // If one of these were sent, it would end the session, and the last one would not be confirmed.
    for size in [200_000, 150_000, 100_001] {
        assert_eq!(fixture.broker.publish(&FAST, &of(size)).await, Err(PublishError::TooLarge), "{size}");
    }
    assert_eq!(fixture.broker.publish(&FAST, &of(100_000)).await, Ok(()));
    take_all(consumer, ["large-100000".to_owned()]).await;
}

/// Publishes a delivery of 200,000 bytes to the slow lane, between two hops of a wait of years. Nobody consumes it yet.
async fn publish_waiting(fixture: &Fixture) {
    let (event, kind) = ("e1".to_owned().try_into().expect("an id"), "ticket.created".to_owned().try_into());
    let delivery =
        Delivery { attempt: 3, ..Delivery::owed("acme", &event, kind.expect("a type"), "crm", Part::First, 0) };
    let waiting = delivery.to_message(vec![b'x'; 200_000].into());
    let mut headers = FieldTable::default();
    for (name, value) in waiting.headers.iter() {
        let value = match value {
            HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
            HeaderValue::Text(text) => AMQPValue::LongString(text.as_bytes().into()),
        };
        headers.insert(name.into(), value);
    }
    headers.insert("carteiro-due".into(), AMQPValue::LongLongInt(i64::MAX));
    headers.insert("carteiro-wait".into(), AMQPValue::LongLongInt(0));
    let properties = BasicProperties::default()
        .with_message_id("e1".into())
        .with_type("ticket.created".into())
        .with_headers(headers);
    let (exchange, options) = (fixture.name("deliver").into(), BasicPublishOptions::default());
    let sent = fixture.channel.basic_publish(exchange, "slow".into(), options, &waiting.body, properties);
    assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
}

/// A delivery that the broker takes no more for its next hop ends once, as a dead letter without its body.
async fn too_large_while_it_waits(fixture: &Fixture) {
    let mut slow = fixture.broker.consume(Queue::Lane(Lane::Slow), 1.into());
    let ending = async {
        loop {
            if let Some(record) = fixture.read(Log::Dead, 0).await.into_iter().next() {
                return record;
            }
        }
    };
    let record = timeout(TIMEOUT, ending).await.expect("it ends");
    let letter = read_dead_letter(&record).expect("a dead letter");
    assert_eq!((letter.reason, letter.attempts, letter.body_withheld), (DeadReason::TooLarge, 2, true));
    let after = Target::Lane(Lane::Slow, None);
    fixture.broker.publish(&after, &message("after")).await.expect("the session lasts");
    assert_eq!(next(&mut slow).await.message.id, "after", "with a prefetch of one, the delivery is settled");
    assert_eq!(fixture.read(Log::Dead, 0).await.len(), 1);
}

/// The node dies and comes back with what is on its disk, and the session comes back by itself.
async fn crash(node: &'static Node, fixture: &Fixture, consumer: &mut broker::Consumer) {
    fixture.until(|state| *state == ConnectionState::Ready).await;
    publish_all(fixture, &ids("durable", 20)).await;
    tokio::join!(on(node, Node::crash), fixture.until(|state| matches!(state, ConnectionState::Away(_))));
    fixture.until(|state| *state == ConnectionState::Ready).await;
    take_all(consumer, ids("durable", 20)).await;
}

/// Publishes, and gives up before the confirm. The first poll lets other tasks go first, and the second sends the message.
async fn give_up(fixture: &Fixture, id: &str) {
    let message = message(id);
    let mut publish = pin!(tokio::task::unconstrained(fixture.broker.publish(&FAST, &message)));
    for _ in 0..2 {
        let _ = publish.as_mut().now_or_never();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_are_given_up_are_looked_after_and_disturb_no_other() {
    let fixture = Fixture::start().await;
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Fast), 100.into());
    for round in 0..20 {
        let publishes = (0..50).map(async |n| {
            give_up(&fixture, &format!("given-up-{round}-{n}")).await;
            fixture.broker.publish(&FAST, &message(&format!("awaited-{round}-{n}"))).await
        });
        assert_eq!(join_all(publishes).await, vec![Ok(()); 50]);
        let named = |kind: &str| (0..50).map(|n| format!("{kind}-{round}-{n}")).collect::<Vec<_>>();
        take_all(&mut consumer, [named("given-up"), named("awaited")].concat()).await;
    }

    // lapin has the return of a publish that was given up, and nobody else will ever ask for it.
    fixture.unbind("deliver.fast", "deliver", "fast").await;
    fixture.unbind("park", "park", "#").await;
    give_up(&fixture, "returned").await;
    fixture.until(|state| matches!(state, ConnectionState::Away(reason) if reason.contains("was returned"))).await;
    // The next session completes the topology.
    fixture.until(|state| *state == ConnectionState::Ready).await;
    publish_all(&fixture, &ids("after", 10)).await;
    take_all(&mut consumer, ids("after", 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_waited_out_and_never_shown() {
    let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
    let config = unique(&url.replace("guest:guest", "guest:hunter2"));
    let broker = connect(&config);
    let refused =
        |state: &ConnectionState| matches!(state, ConnectionState::Away(reason) if reason.contains("access refused"));
    let away =
        timeout(TIMEOUT, broker.connection_state().wait_for(refused)).await.expect("in time").expect("a state").clone();
    let ConnectionState::Away(reason) = away else { unreachable!("as waited for") };
    assert!(!reason.contains("hunter2"), "{reason}");
    assert!(matches!(broker.publish(&FAST, &message("e")).await, Err(PublishError::Away(_))));
    let waiting = timeout(Duration::from_millis(500), broker.first_session()).await;
    assert!(waiting.is_err(), "it is no reason to end: {waiting:?}");
    assert_eq!(*broker.defect().borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_answers_is_used() {
    let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
    // Nothing listens on port 1.
    let config = unique(&url.replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1"));
    let broker = connect(&config);
    timeout(TIMEOUT, broker.first_session()).await.expect("in time").expect("connects");
    broker.close().await;
    assert!(matches!(broker.publish(&FAST, &message("e")).await, Err(PublishError::Away(_))));
    rabbitmq::remove(&config).await.expect("removed");
}

/// lapin's tasks run on the thread of this test, which collects their errors.
#[tokio::test]
async fn a_connection_for_one_question_ends_without_an_error() {
    let fixture = Fixture::start().await;
    let log = tempfile::NamedTempFile::new().expect("a file");
    let logged = || fs::read_to_string(log.path()).expect("text");
    let writer = Arc::new(log.reopen().expect("a file"));
    let errors = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(writer);
    let _collecting = tracing::subscriber::set_default(errors.finish());
    let connection = Connection::connect(&fixture.config.url, ConnectionProperties::default()).await.expect("connects");
    drop(connection.create_channel().await.expect("a channel"));
    let _ = timeout(Duration::from_secs(2), connection.close(200, "OK".into())).await;
    let is_broken = |logged: &str| logged.contains("invalid channel state: Closing");
    let before = logged();
    assert!(is_broken(&before), "a dropped channel breaks lapin's connection");

    fixture
        .broker
        .publish(&Target::Log(Log::Dead, "test.acme".to_owned()), &message("record"))
        .await
        .expect("confirmed");
    assert_eq!(fixture.read(Log::Dead, 0).await.len(), 1);
    fixture.broker.end(Log::Parked).await.expect("an end");
    assert_eq!(fixture.broker.intake_is_bound().await, Some(true));
    fixture.broker.queue_counts().await.expect("counts");
    rabbitmq::announce(&fixture.config, b"notice").await.expect("announced");
    assert_eq!(rabbitmq::verify(&fixture.config, fastrand::Rng::new()).await.expect("it could look"), []);
    let consumer = fixture.broker.consume(Queue::Ingest, 10.into());
    assert_eq!(fixture.broker.intake_is_bound().await, Some(true), "the consumer is there");
    drop(consumer);
    fixture.broker.close().await;
    let since = &logged()[before.len()..];
    assert!(!is_broken(since), "{since}");
}

/// In reverse order each settlement is a command of its own to the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_after_many_settlements_gives_none_back() {
    let fixture = Fixture::start().await;
    for round in 0..16 {
        publish_all(&fixture, &ids("settled", 200)).await;
        let broker = connect(&fixture.config);
        let mut consumer = broker.consume(Queue::Lane(Lane::Fast), 200.into());
        let mut taken = Vec::new();
        while taken.len() < 200 {
            taken.push(next(&mut consumer).await);
        }
        // A consumer that is gone at the close was cancelled before the settlements.
        let consumer = (round % 2 == 0).then_some(consumer);
        taken.into_iter().rev().for_each(|incoming| incoming.settle(Settlement::Done));
        broker.close().await;
        drop(consumer);
        let left = rabbitmq::contents(&fixture.config).await.expect("it could look");
        assert_eq!(left.iter().map(|queue| queue.ready).sum::<u32>(), 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_writes_what_is_settled_and_ends_the_consumers() {
    let fixture = Fixture::start().await;
    publish_all(&fixture, &ids("settled", 50)).await;
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Fast), 50.into());
    let _other = fixture.broker.consume(Queue::Lane(Lane::Slow), 50.into());
    take_all(&mut consumer, ids("settled", 50)).await;
    fixture.broker.close().await;
    assert!(timeout(TIMEOUT, consumer.next()).await.expect("in time").is_none());
    let successor = connect(&fixture.config);
    let mut consumer = successor.consume(Queue::Lane(Lane::Fast), 50.into());
    timeout(TIMEOUT, successor.first_session()).await.expect("in time").expect("connects");
    successor.publish(&FAST, &message("new")).await.expect("confirmed");
    assert_eq!(next(&mut consumer).await.message.id, "new", "nothing settled came again");
}
