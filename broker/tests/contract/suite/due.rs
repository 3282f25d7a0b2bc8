//! Due times. Waits are whole seconds, as the shortest step of a ladder of fixed delays is one.

use broker::{Due, Lane, Queue, Settlement, Target};
use schemas::{HeaderValue, wire::DUE};

use crate::{
    fixture::Fixture,
    story::{FAST, SLOW, ingest, ingest_slow, lane, message, publish, take, take_all},
};

pub(crate) async fn nothing_comes_before_its_due_time<F: Fixture>() {
    let fixture = F::start().await;
    let (broker, clock) = (fixture.broker(), fixture.clock());
    let mut consumer = broker.consume(SLOW, 10.into());
    let published = clock();
    let waits = [(1000, true), (1500, true), (2000, false), (3000, false)];
    for (wait, exact) in waits {
        let to = Target::Lane(Lane::Slow, Some(Due { at: published + wait, exact }));
        publish(&*broker, &to, &message(wait)).await;
    }
    let mut missing = waits.to_vec();
    while !missing.is_empty() {
        let incoming = take(&mut consumer).await;
        let waited = clock() - published;
        let wait = incoming.message.headers.int(DUE).and_then(|due| u64::try_from(due).ok()).expect("a due header")
            - published;
        assert_eq!(incoming.message.id, wait.to_string());
        let exact = fixture.features().precise || waits.contains(&(wait, true));
        let least = if exact { wait } else { wait * 95 / 100 };
        assert!(waited >= least, "due after {wait} ms, it came after {waited} ms");
        missing.retain(|(known, _)| *known != wait);
        incoming.settle(Settlement::Done);
    }
}

pub(crate) async fn a_far_due_time_does_not_hold_back_a_near_one<F: Fixture>() {
    let fixture = F::start().await;
    let (broker, clock) = (fixture.broker(), fixture.clock());
    for (id, wait) in [("far", 3_600_000), ("near", 1000)] {
        let to = Target::Lane(Lane::Fast, Some(Due { at: clock() + wait, exact: false }));
        publish(&*broker, &to, &message(id)).await;
    }
    let came = take_all(&mut broker.consume(FAST, 10.into()), ["near"]).await;
    assert!(!came.contains("far"));
}

pub(crate) async fn what_is_already_due_comes_at_once<F: Fixture>() {
    let fixture = F::start().await;
    let (broker, clock) = (fixture.broker(), fixture.clock());
    let past = clock() - 60_000;
    let to = Target::Lane(Lane::Fast, Some(Due { at: past, exact: false }));
    publish(&*broker, &to, &message("late")).await;
    let incoming = take(&mut broker.consume(FAST, 1.into())).await;
    assert_eq!(incoming.message.headers.int(DUE), i64::try_from(past).ok());
    assert!(!incoming.redelivered);
}

pub(crate) async fn the_due_header_is_the_brokers_own<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let mut stale = message("stale");
    stale.headers.set(DUE, HeaderValue::Int(1));
    for (to, from) in [(ingest(), Queue::Ingest), (ingest_slow(), Queue::IngestSlow), (lane(Lane::Fast), FAST)] {
        publish(&*broker, &to, &stale).await;
        assert_eq!(take(&mut broker.consume(from, 1.into())).await.message, message("stale"));
    }
}

pub(crate) async fn the_wait_of_some_deliveries_ends_or_the_broker_says_that_it_cannot<F: Fixture>() {
    let fixture = F::start().await;
    let (broker, clock) = (fixture.broker(), fixture.clock());
    for id in ["first", "second", "third"] {
        let to = Target::Lane(Lane::Slow, Some(Due { at: clock() + 3_600_000, exact: false }));
        publish(&*broker, &to, &message(id)).await;
    }
    publish(&*broker, &Target::Lane(Lane::Slow, None), &message("now")).await;
    let ended = ["first".to_owned(), "third".to_owned(), "unknown".to_owned()];
    let expected = match broker.end_waits(&ended).await.expect("an answer") {
        true => vec!["now", "first", "third"],
        false => vec!["now"],
    };
    let came = take_all(&mut broker.consume(SLOW, 10.into()), expected).await;
    assert!(!came.contains("second"));
}
