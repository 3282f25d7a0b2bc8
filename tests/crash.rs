//! Processes killed with SIGKILL under load: every accepted event arrives, and only events in flight arrive twice.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Method, StatusCode};
use tokio::sync::watch;

use crate::harness::{
    DeliveryCounts, MetricsPage, Process, Rabbit, Receiver, Recorder, Site, UNANSWERED, acme, eventually, ids, in_time,
    report,
};

/// Events of each test.
const EVENTS: usize = 5_000;
/// Fast slots of a deliverer, and as many slow slots.
const SLOTS: usize = 32;
/// Most deliveries that a deliverer has not settled: in the fast lane the fast slots and three quarters of the slow ones,
/// in the slow lane four fifths of the slow slots.
pub(crate) const UNSETTLED: usize = SLOTS + SLOTS * 3 / 4 + SLOTS * 4 / 5;
/// Most events that a router has under way at once.
pub(crate) const ROUTER_PREFETCH: usize = 64;
/// Time that the endpoint takes to answer. With the slots it bounds the deliveries a second, so that a kill comes before
/// the end.
pub(crate) const ANSWER: Duration = Duration::from_millis(20);

/// Sets the slots and the prefetch that the bounds above are about.
pub(crate) fn bounded(site: Site) -> Site {
    let slots = SLOTS.to_string();
    site.set("deliverer.slots", &slots)
        .set("deliverer.slow_slots", &slots)
        .set("router.prefetch", &ROUTER_PREFETCH.to_string())
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

    let counts = everything(&receiver, &standalone, accepted).await;
    check("standalone killed twice", &counts, 2 * (UNSETTLED + ROUTER_PREFETCH));
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

    let counts = everything(&receiver, &producer, accepted).await;
    // Each process was killed once, and then the broker of all of them.
    let in_flight = 2 * (UNANSWERED + ROUTER_PREFETCH + 2 * UNSETTLED);
    check("producer, router, both deliverers and the broker killed", &counts, in_flight);
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_their_broker_killed_in_turn_lose_nothing() {
    let rabbit = Rabbit::start().await;
    let receiver = Receiver::accepting_after(Duration::from_millis(2)).await;
    let site = bounded(Site::on(rabbit.url(), &acme(&receiver.url("/crm"))));
    let producer = site.start("producer").await;
    let mut workers = [site.start("worker").await, site.start("worker").await];
    let published = async {
        let (api, mut accepted) = (producer.api(), BTreeSet::new());
        // No backlog: what waits for others takes the lanes.
        for batch in ids("event", EVENTS).chunks(50) {
            accepted.extend(api.publish("acme", batch.to_vec()).await);
            let in_time = |recorder: &Recorder| recorder.delivered("/crm") + ROUTER_PREFETCH / 2 >= accepted.len();
            receiver.until("most of them arrive", in_time).await;
        }
        accepted
    };
    let killed = async {
        for (milestone, worker) in [1_000, 2_000].into_iter().zip(&mut workers) {
            let delivered = middle(&receiver, milestone, EVENTS).await;
            let direct = MetricsPage::of(worker).await.value(r#"carteiro_attempts_total{lane="direct",outcome="2xx"}"#);
            worker.kill().await;
            report("a worker killed", format!("{delivered} delivered of {EVENTS}, {direct} by it directly"));
            assert!(direct > 200.0, "{direct} were handed over");
            worker.restart().await;
        }
        let delivered = middle(&receiver, 3_000, EVENTS).await;
        rabbit.kill().await;
        report("the broker killed", format!("{delivered} delivered of {EVENTS}"));
        rabbit.revive().await;
    };
    let (accepted, ()) = tokio::join!(published, killed);
    assert_eq!(accepted.len(), EVENTS);

    let counts = everything(&receiver, &producer, accepted).await;
    check("both workers and the broker killed", &counts, 2 * 2 * (ROUTER_PREFETCH + UNSETTLED));
    for process in workers.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

/// Waits until some are delivered. Returns how many, which is not yet all.
pub(crate) async fn middle(receiver: &Receiver, milestone: usize, of: usize) -> usize {
    receiver.until("some are delivered", |recorder| recorder.delivered("/crm") >= milestone).await;
    let delivered = receiver.look(|recorder| recorder.delivered("/crm"));
    assert!(0 < delivered && delivered < of, "{delivered} of {of} is no middle");
    delivered
}

/// Waits until the producer answers 503 with a Retry-After.
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

/// Waits for all, and then for an event that is published last: repeated deliveries come before it.
pub(crate) async fn everything(
    receiver: &Receiver,
    producer: &Process,
    mut accepted: BTreeSet<String>,
) -> DeliveryCounts {
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    accepted.extend(producer.api().publish("acme", ids("last", 1)).await);
    receiver.until("the last arrives", |recorder| recorder.has_all("/crm", &accepted)).await;
    receiver.counts("/crm", &accepted)
}

/// Nothing was lost, and no more was delivered twice than was in flight.
pub(crate) fn check(test: &str, counts: &DeliveryCounts, in_flight: usize) {
    report(test, format!("{counts}; at most {in_flight} were in flight"));
    assert_eq!((counts.lost, counts.unexpected), (0, 0));
    assert!(counts.duplicates <= in_flight, "{} duplicates, {in_flight} in flight", counts.duplicates);
}
