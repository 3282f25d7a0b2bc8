//! `kill -9` in the middle: what was accepted arrives, and what arrives twice was in flight.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Method, StatusCode};
use tokio::sync::watch;

use crate::harness::{Outbox, Process, Rabbit, Receiver, Site, UNANSWERED, acme, eventually, ids, in_time, report};

/// Events of each story.
const EVENTS: usize = 5_000;
/// Fast slots of a deliverer, and slow ones.
const SLOTS: usize = 32;
/// Deliveries that a deliverer has not settled, at most: of the fast lane as many as there are fast slots and three
/// quarters of the slow ones, of the slow lane four fifths of these.
pub(crate) const UNSETTLED: usize = SLOTS + SLOTS * 3 / 4 + SLOTS * 4 / 5;
/// Events that a router has under way at once, at most.
pub(crate) const CREDIT: usize = 64;
/// How long the endpoint takes: with the slots, it bounds what is delivered a second, so that a kill finds a middle.
pub(crate) const ANSWER: Duration = Duration::from_millis(20);

pub(crate) fn bounded(site: Site) -> Site {
    let slots = SLOTS.to_string();
    site.set("deliverer.slots", &slots).set("deliverer.slow_slots", &slots).set("router.prefetch", &CREDIT.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_killed_in_the_middle_loses_nothing() {
    let receiver = Receiver::accepting_after(ANSWER).await;
    let site = bounded(Site::embedded(&acme(&receiver.url("/crm"))));
    let mut standalone = site.start("standalone").await;
    let accepted = standalone.api().publish("acme", ids("event", EVENTS)).await;
    assert_eq!(accepted.len(), EVENTS);

    for milestone in [1_500, 3_000] {
        let delivered = middle(&receiver, milestone, EVENTS).await;
        standalone.kill().await;
        report("standalone killed", format!("{delivered} delivered of {EVENTS} accepted"));
        standalone.restart().await;
    }

    let tally = everything(&receiver, &standalone, accepted).await;
    judge("standalone killed twice", &tally, 2 * (UNSETTLED + CREDIT));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_their_broker_killed_in_turn_lose_nothing() {
    let rabbit = Rabbit::start().await;
    let receiver = Receiver::accepting_after(ANSWER).await;
    let site = bounded(Site::on(rabbit.url(), &acme(&receiver.url("/crm"))));
    let mut producer = site.start("producer").await;
    let mut others = [site.start("router").await, site.start("deliverer").await, site.start("deliverer").await];
    producer.ready().await;

    let (counter, mut count) = watch::channel(0);
    let api = producer.api();
    let publishing =
        tokio::spawn(async move { api.publish_counting("acme", ids("event", EVENTS - 1_000), &counter).await });
    let published = *in_time("some are accepted", count.wait_for(|count| *count >= 300)).await.expect("it publishes");
    producer.kill().await;
    report("producer killed", format!("{published} accepted of {EVENTS}"));
    assert!(published < EVENTS - 1_000);
    producer.restart().await;

    for (milestone, process) in [500, 1_200, 1_900].into_iter().zip(&mut others) {
        let delivered = middle(&receiver, milestone, EVENTS).await;
        process.kill().await;
        report("a router or deliverer killed", format!("{delivered} delivered of {EVENTS}"));
        process.restart().await;
    }
    let mut accepted = publishing.await.expect("it publishes");

    let delivered = middle(&receiver, 2_600, accepted.len()).await;
    rabbit.kill().await;
    report("the broker killed", format!("{delivered} delivered of {} accepted", accepted.len()));
    refused(&producer).await;
    let api = producer.api();
    let publishing = tokio::spawn(async move { api.publish("acme", ids("later", 1_000)).await });
    rabbit.revive().await;
    accepted.extend(publishing.await.expect("it publishes"));
    assert_eq!(accepted.len(), EVENTS);

    let tally = everything(&receiver, &producer, accepted).await;
    // Each was killed once, and the broker with all of them.
    let in_flight = 2 * (UNANSWERED + CREDIT + 2 * UNSETTLED);
    judge("producer, router, both deliverers and the broker killed", &tally, in_flight);
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

/// Waits for some to be delivered; how many were, and not yet all.
pub(crate) async fn middle(receiver: &Receiver, milestone: usize, of: usize) -> usize {
    receiver.until("some are delivered", |ledger| ledger.delivered("/crm") >= milestone).await;
    let delivered = receiver.look(|ledger| ledger.delivered("/crm"));
    assert!(0 < delivered && delivered < of, "{delivered} of {of} is no middle");
    delivered
}

/// While the broker is away a producer says so, and when to come back.
async fn refused(producer: &Process) {
    eventually("the producer answers 503", || async {
        let request = producer.api().request(Method::POST, "/v1/tenants/acme/events");
        let request = request.header("content-type", "application/json").body(r#"{"type":"ticket.created"}"#);
        let answer = request.send().await.expect("the producer answers");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        Some(())
    })
    .await;
}

/// Waits for all, and then for one published last: what comes again comes before it.
pub(crate) async fn everything(receiver: &Receiver, producer: &Process, mut accepted: BTreeSet<String>) -> Outbox {
    receiver.until("all arrive", |ledger| ledger.has_all("/crm", &accepted)).await;
    accepted.extend(producer.api().publish("acme", ids("last", 1)).await);
    receiver.until("the last arrives", |ledger| ledger.has_all("/crm", &accepted)).await;
    receiver.tally("/crm", &accepted)
}

pub(crate) fn judge(story: &str, tally: &Outbox, in_flight: usize) {
    report(story, format!("{tally}; at most {in_flight} were in flight"));
    assert_eq!((tally.lost, tally.strangers), (0, 0));
    assert!(tally.duplicates <= in_flight, "{} duplicates, {in_flight} in flight", tally.duplicates);
}
