//! The limits of queues: what is parked (docs/rabbitmq.md#redelivery), what logs keep (docs/rabbitmq.md#streams), and which
//! publishes are refused (docs/rabbitmq.md#publishing).

use std::sync::atomic::{AtomicUsize, Ordering};

use broker::{Broker, Due, Lane, Log, Prefetch, PublishError, Queue, Settlement, Target};
use futures_util::StreamExt;
use lapin::{
    options::{BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::FieldTable,
};
use schemas::Message;

use crate::fixture::{Fixture, clock, connect, message, next};

const KEY: &str = "acme.7.12.ticket.created";

#[tokio::test(flavor = "multi_thread")]
async fn what_kills_its_consumer_too_often_is_parked_and_says_why() {
    let fixture = Fixture::start().await;
    let limit = Queue::Ingest.delivery_limit();
    fixture.broker.publish(&ingest(), &message("poison")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Ingest, 1.into());
    for taken in 0..=limit {
        let incoming = next(&mut consumer).await;
        assert_eq!(incoming.redelivered, taken > 0);
        assert!(incoming.count >= u32::from(taken > 0) && incoming.count <= taken, "{} of {taken}", incoming.count);
        incoming.settle(Settlement::Again);
    }
    fixture.broker.publish(&ingest(), &message("innocent")).await.expect("confirmed");
    assert_eq!(next(&mut consumer).await.message.id, "innocent");
    let parked = fixture.parked().await;
    assert_eq!((parked.message.id.as_str(), parked.key.as_str()), ("poison", KEY));
    assert_eq!(parked.message.headers.text("x-last-death-reason"), Some("delivery_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_died_on_the_ladder_before_still_says_that_it_came_too_often() {
    let fixture = Fixture::start().await;
    let soon = Due { at: clock()() + 1000, exact: false };
    fixture.broker.publish(&Target::Lane(Lane::Slow, Some(soon)), &message("poison")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 1.into());
    for _ in 0..=Queue::Lane(Lane::Slow).delivery_limit() {
        next(&mut consumer).await.settle(Settlement::Again);
    }
    let parked = fixture.parked().await;
    assert_eq!((parked.message.id.as_str(), parked.key.as_str()), ("poison", "delivery_limit.-"));
    assert_eq!(parked.message.headers.text("x-last-death-reason"), Some("delivery_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_into_a_log_takes_nothing_away() {
    let fixture = Fixture::start().await;
    for n in 0..250 {
        let to = Target::Log(Log::Dead, "exhausted.acme".to_owned());
        fixture.broker.publish(&to, &message(&format!("d{n}"))).await.expect("confirmed");
    }
    for _ in 0..4 {
        assert_eq!(fixture.read(Log::Dead, 0).await.len(), 250);
    }
    let all = fixture.read(Log::Dead, 0).await;
    assert!(
        all.iter().map(|record| &record.message.id).eq((0..250).map(|n| format!("d{n}")).collect::<Vec<_>>().iter())
    );
    let middle = all[200].offset;
    let rest = fixture.read(Log::Dead, middle).await;
    assert_eq!((rest.len(), rest[0].offset, rest[0].key.as_str()), (50, middle, "exhausted.acme"));
    assert_eq!(fixture.read(Log::Dead, 1_000_000).await, [], "beyond the end there is nothing, and no waiting");
    assert_eq!(fixture.read(Log::Parked, 0).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_log_without_its_stream_is_reported_and_its_neighbours_are_not() {
    let fixture = Fixture::start().await;
    fixture.unbind("dead", "dead", "#").await;
    let (dead, park) = (Target::Log(Log::Dead, "a.b".to_owned()), Target::Log(Log::Parked, "a.b".to_owned()));
    let publishes = (0..64).map(|n| {
        let (broker, to) = (&fixture.broker, if n % 2 == 0 { &dead } else { &park });
        async move { broker.publish(to, &message(&format!("m{n}"))).await }
    });
    let answers = futures_util::future::join_all(publishes).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, if n % 2 == 0 { Err(PublishError::Unroutable) } else { Ok(()) }, "m{n}");
    }
    assert_eq!(fixture.read(Log::Parked, 0).await.len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_so() {
    let fixture = Fixture::start().await;
    // The operator's limit, which no other queue may have: docs/rabbitmq.md#a-length-limit-on-a-dead-letter-target. It is an
    // argument here, because a policy would be that of the whole node.
    let queue = fixture.name("ingest");
    fixture.channel.queue_delete(queue.as_str().into(), <_>::default()).await.expect("deleted");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    arguments.insert("x-max-length".into(), lapin::types::AMQPValue::LongLongInt(1));
    arguments.insert("x-overflow".into(), lapin::types::AMQPValue::LongString("reject-publish".into()));
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..<_>::default() };
    fixture.channel.queue_declare(queue.as_str().into(), durable, arguments).await.expect("declared");
    let events = fixture.config.exchange.as_str().into();
    fixture
        .channel
        .queue_bind(queue.as_str().into(), events, "#".into(), <_>::default(), <_>::default())
        .await
        .expect("bound");
    let mut refused = 0;
    while refused == 0 {
        match fixture.broker.publish(&ingest(), &message("e")).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, PublishError::Nacked);
                refused += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_an_id_that_fits_no_frame_is_refused_and_hurts_nobody_else() {
    let fixture = Fixture::start().await;
    let long = Target::Ingest { key: "k".repeat(256) };
    assert_eq!(fixture.broker.publish(&long, &message("e1")).await, Err(PublishError::TooLarge));
    assert_eq!(fixture.broker.publish(&ingest(), &message(&"i".repeat(256))).await, Err(PublishError::TooLarge));
    assert_eq!(fixture.broker.publish(&ingest(), &message("e2")).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_consumer_gives_back_what_it_had_not_handed_out() {
    let fixture = Fixture::start().await;
    for n in 0..20 {
        fixture.broker.publish(&Target::Lane(Lane::Fast, None), &message(&format!("m{n}"))).await.expect("confirmed");
    }
    let mut first = fixture.broker.consume(Queue::Lane(Lane::Fast), 20.into());
    let held = next(&mut first).await;
    drop(first);
    let mut second = fixture.broker.consume(Queue::Lane(Lane::Fast), 20.into());
    let others = (0..20).map(|n| format!("m{n}")).filter(|id| *id != held.message.id).collect::<Vec<_>>();
    crate::fixture::take_all(&mut second, others).await;
    held.settle(Settlement::Done);
    fixture.broker.close().await;
    drop(second);
    let probe = connect(&fixture.config);
    probe.first_session().await.expect("connects");
    probe.publish(&Target::Lane(Lane::Fast, None), &message("last")).await.expect("confirmed");
    let mut third = probe.consume(Queue::Lane(Lane::Fast), 20.into());
    // A message that was not settled would come first.
    assert_eq!(next(&mut third).await.message.id, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_prefetch_than_one_consumer_may_have_is_shared_between_several() {
    let fixture = Fixture::start().await;
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Fast), 700.into());
    let publishes = (0..700).map(|n| {
        let broker = &fixture.broker;
        async move { broker.publish(&Target::Lane(Lane::Fast, None), &message(&format!("m{n}"))).await }
    });
    for answer in futures_util::future::join_all(publishes).await {
        answer.expect("confirmed");
    }
    let mut held = Vec::new();
    while held.len() < 700 {
        held.push(next(&mut consumer).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_large_bodies_surprise_pauses_until_they_are_settled() {
    let fixture = Fixture::start().await;
    let (broker, fast) = (&fixture.broker, Queue::Lane(Lane::Fast));
    let publish = async |id: &str, size: usize| {
        let body = vec![b'x'; size].into();
        broker.publish(&Target::Lane(Lane::Fast, None), &Message { body, ..message(id) }).await.expect("confirmed");
    };
    let mut consumer = broker.consume(fast, Prefetch { messages: 100, bytes: 1 << 20 });
    let mut held = Vec::new();
    for n in 0..100 {
        publish(&format!("small{n}"), 1).await;
        held.push(next(&mut consumer).await);
    }
    held.into_iter().for_each(|incoming| incoming.settle(Settlement::Done));
    // The broker may now send a hundred, of which five are too many.
    for n in 0..60 {
        publish(&format!("large{n}"), 256 * 1024).await;
    }
    let mut other = broker.consume(fast, 1.into());
    let (mut held, mut others) = (Vec::new(), 0);
    while held.len() + others < 60 {
        tokio::select! {
            incoming = next(&mut consumer) => held.push(incoming),
            incoming = next(&mut other) => {
                assert!(incoming.count <= 1, "at most what was under way was given back, by the broker");
                incoming.settle(Settlement::Done);
                others += 1;
            }
        }
    }
    drop(other);
    assert!((5..30).contains(&held.len()), "{} were handed out", held.len());
    for incoming in held {
        incoming.settle(Settlement::Done);
    }
    publish("last", 1).await;
    assert_eq!(next(&mut consumer).await.message.id, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_consumer_that_gives_up_on_a_message_loses_nothing() {
    let fixture = Fixture::start().await;
    fixture.broker.publish(&ingest(), &message("e1")).await.expect("confirmed");
    fixture.channel.basic_qos(1, BasicQosOptions::default()).await.expect("limited");
    let queue = fixture.name("ingest");
    let options = BasicConsumeOptions::default();
    let mut foreign = fixture
        .channel
        .basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default())
        .await
        .expect("consumes");
    let delivery = foreign.next().await.expect("one").expect("fine");
    delivery.acker.nack(BasicNackOptions { multiple: false, requeue: false }).await.expect("rejected");
    assert_eq!(fixture.parked().await.message.headers.text("x-last-death-reason"), Some("rejected"));
}

fn ingest() -> Target {
    Target::Ingest { key: KEY.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_tenants_records_does_not_hold_up_another_ones() {
    const FLOOD: usize = 3_000;
    let fixture = Fixture::start().await;
    let (confirmed, before) = (AtomicUsize::new(0), AtomicUsize::new(FLOOD));
    let publish = async |tenant: &str, id: String| {
        let to = Target::Log(Log::Dead, format!("exhausted.{tenant}"));
        fixture.broker.publish(&to, &message(&id)).await.expect("confirmed");
    };
    let flood = (0..FLOOD).map(async |number| {
        publish("acme", number.to_string()).await;
        confirmed.fetch_add(1, Ordering::Relaxed);
    });
    let other = async {
        publish("zeta", "other".to_owned()).await;
        before.store(confirmed.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    tokio::join!(futures_util::future::join_all(flood), other);
    assert!(before.into_inner() < FLOOD / 2, "it came before most of the flood");
    assert_eq!(fixture.read(Log::Dead, 0).await.len(), FLOOD + 1);
}
