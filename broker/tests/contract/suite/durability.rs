//! What a confirm is worth.

use broker::{BODY_LIMIT, ConnectionState, Due, Lane, Log, PublishError, Queue, Settlement, Target};
use futures_util::future::join_all;
use schemas::Message;

use crate::{
    fixture::{Fixture, eventually},
    story::{FAST, SLOW, ingest, ingest_slow, lane, message, publish, publish_all, read, take, take_all},
};

pub(crate) async fn many_publishes_at_once_are_all_confirmed_and_all_there<F: Fixture>() {
    let mut fixture = F::start().await;
    let broker = fixture.broker();
    let messages: Vec<_> = (0..1000).map(message).collect();
    let to = ingest();
    let confirms = join_all(messages.iter().map(|message| broker.publish(&to, message)));
    for confirm in eventually("all are answered", confirms).await {
        confirm.expect("each is confirmed");
    }
    drop(broker);
    if fixture.features().durable {
        fixture.restart().await;
    }
    take_all(&mut fixture.broker().consume(Queue::Ingest, 200.into()), 0..1000).await;
}

pub(crate) async fn what_was_confirmed_survives_a_crash<F: Fixture>() {
    let mut fixture = F::start().await;
    if !fixture.features().durable {
        return;
    }
    let broker = fixture.broker();
    publish_all(&*broker, &ingest(), 0..10).await;
    publish_all(&*broker, &lane(Lane::Fast), 10..20).await;
    let due = fixture.clock()() + 1000;
    publish_all(&*broker, &Target::Lane(Lane::Slow, Some(Due { at: due, exact: true })), 20..30).await;
    publish_all(&*broker, &Target::Log(Log::Dead, "exhausted.acme".into()), 30..40).await;
    publish_all(&*broker, &ingest_slow(), 40..50).await;
    let dead = read(&*broker, Log::Dead, 0).await;
    drop(broker);
    fixture.restart().await;
    let broker = fixture.broker();
    take_all(&mut broker.consume(Queue::Ingest, 5.into()), 0..10).await;
    take_all(&mut broker.consume(FAST, 5.into()), 10..20).await;
    take_all(&mut broker.consume(SLOW, 5.into()), 20..30).await;
    take_all(&mut broker.consume(Queue::IngestSlow, 5.into()), 40..50).await;
    assert!(fixture.clock()() >= due, "a due time holds through a crash");
    assert_eq!(read(&*broker, Log::Dead, 0).await, dead);
}

pub(crate) async fn what_was_handed_out_comes_again_after_a_crash<F: Fixture>() {
    let mut fixture = F::start().await;
    if !fixture.features().durable {
        return;
    }
    let broker = fixture.broker();
    publish_all(&*broker, &lane(Lane::Fast), 0..5).await;
    let mut consumer = broker.consume(FAST, 2.into());
    let held = [take(&mut consumer).await, take(&mut consumer).await];
    fixture.restart().await;
    drop((consumer, held, broker));

    let mut consumer = fixture.broker().consume(FAST, 10.into());
    let mut counts = std::collections::BTreeMap::new();
    while counts.len() < 5 {
        let incoming = take(&mut consumer).await;
        assert_eq!(incoming.redelivered, incoming.count > 0);
        counts.insert(incoming.message.id.clone(), incoming.count);
        incoming.settle(Settlement::Done);
    }
    let again = counts.values().filter(|count| **count == 1).count();
    assert_eq!((again, counts.values().sum::<u32>()), (2, 2), "two were out, three were not: {counts:?}");
}

pub(crate) async fn refused_publishes_show_and_lose_nothing<F: Fixture>() {
    let mut fixture = F::start().await;
    if !fixture.features().blocks {
        return;
    }
    let broker = fixture.broker();
    let mut connection = broker.connection_state();
    publish(&*broker, &ingest(), &message(0)).await;
    fixture.block().await;
    // The broker reports an alarm only when something is published, and maybe late.
    let mut confirmed = 1;
    let refused = eventually("a publish is refused", async {
        loop {
            match broker.publish(&ingest(), &message(confirmed)).await {
                Ok(()) => confirmed += 1,
                Err(refused) => break refused,
            }
        }
    });
    let refused = refused.await;
    assert!(matches!(refused, PublishError::Nacked | PublishError::Blocked(_) | PublishError::Lost(_)), "{refused:?}");
    let blocked = connection.wait_for(|state| matches!(state, ConnectionState::Blocked(_)));
    drop(eventually("the connection is blocked", blocked).await.expect("the broker lives"));
    let refused = eventually("a publish is answered", broker.publish(&ingest(), &message("refused"))).await;
    assert!(matches!(refused, Err(PublishError::Blocked(_))), "{refused:?}");

    fixture.unblock().await;
    drop(
        eventually("the connection recovers", connection.wait_for(|state| *state == ConnectionState::Ready))
            .await
            .expect("the broker lives"),
    );
    publish(&*broker, &ingest(), &message("after")).await;
    let expected = (0..confirmed).map(|id| id.to_string()).chain(["after".into()]);
    take_all(&mut broker.consume(Queue::Ingest, 10.into()), expected).await;
}

pub(crate) async fn what_is_too_large_is_refused_for_good<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let giant = Message { body: vec![b' '; BODY_LIMIT + 1].into(), ..message("giant") };
    let refused = eventually("a publish is answered", broker.publish(&ingest(), &giant)).await;
    assert_eq!(refused, Err(PublishError::TooLarge));
    publish(&*broker, &ingest(), &message("small")).await;
    take_all(&mut broker.consume(Queue::Ingest, 1.into()), ["small"]).await;
}
