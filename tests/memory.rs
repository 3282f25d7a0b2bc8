//! A backlog of large bodies, in the queue of events and in both lanes: the processes that work it off stay small, and
//! nothing is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use carteiro::receiver::Answer;
use futures_util::{StreamExt as _, stream};

use crate::harness::{AmqpClient, AmqpMessage, MetricsPage, Process, Rabbit, Receiver, Site, acme, eventually, report};

const KEY: &str = "acme.-.-.message.received";
/// Number of events in each backlog, and bytes of each event.
const BACKLOG: usize = 300;
const EVENT: usize = 1024 * 1024;
/// Most memory, in bytes, that a process may ever have had in use: it would live in a container of 512 MB.
const MOST: u64 = 400 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_bodies_is_worked_off_by_small_processes() {
    let answers = Arc::new(AtomicBool::new(false));
    let is_up = answers.clone();
    let receiver = Receiver::without_bodies(move |_| {
        // A slow endpoint leaves as many bodies in hand as the deliverer takes.
        if is_up.load(Relaxed) { Answer::Status(200, Duration::from_secs(1)) } else { Answer::status(503) }
    })
    .await;
    let rabbit = Rabbit::start().await;
    let site = Site::on(rabbit.url(), &acme(&receiver.url("/crm")));
    let mut first = site.start("router").await;
    first.ready().await;
    first.kill().await;

    let amqp = AmqpClient::connect(&site).await;
    let mut published = publish(&amqp, "early").await;
    let router = site.start("router").await;
    routed(&router, BACKLOG).await;
    small("router", &router);

    // What failed or was deferred is then one of the slow lane.
    let mut failing = site.start("deliverer").await;
    receiver.until("as many attempts fail", |recorder| recorder.requests("/crm").len() >= BACKLOG).await;
    small("deliverer whose endpoint fails", &failing);
    failing.kill().await;

    published.extend(publish(&amqp, "late").await);
    routed(&router, 2 * BACKLOG).await;
    answers.store(true, Relaxed);
    let deliverer = site.start("deliverer").await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &published)).await;
    small("deliverer of both lanes", &deliverer);
    small("router", &router);
    for process in [router, deliverer] {
        assert_eq!(process.end().await, 0);
    }
}

/// Publishes a backlog of events to the exchange, while nobody takes them. Returns their ids.
async fn publish(amqp: &AmqpClient, name: &str) -> BTreeSet<String> {
    let text = "x".repeat(EVENT);
    let body = format!(r#"{{"type":"message.received","message":{{"direction":"inbound","text":"{text}"}}}}"#);
    let ids: BTreeSet<_> = (0..BACKLOG).map(|number| format!("{name}-{number}")).collect();
    let publishes = stream::iter(&ids).map(async |id| {
        amqp.publish(&AmqpMessage { key: KEY, id: Some(id), tenant: None, body: body.as_bytes() }).await;
    });
    publishes.buffer_unordered(8).collect::<()>().await;
    ids
}

/// Waits until the router has routed this many events. How many messages lie in the lanes says less: a publish whose
/// confirm came late is repeated.
async fn routed(router: &Process, count: usize) {
    eventually(&format!("{count} events are routed"), || async {
        let page = MetricsPage::of(router).await;
        (page.value("carteiro_events_routed_total") >= count as f64).then_some(())
    })
    .await;
}

fn small(what: &str, process: &Process) {
    let peak = process.peak_memory();
    report(&format!("peak memory of a {what}"), format!("{} MiB", peak / 1024 / 1024));
    assert!(peak < MOST, "{what}: {peak} bytes");
}
