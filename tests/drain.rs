//! An orderly end: deliveries under way are finished, and the others go to other processes.

use std::time::{Duration, Instant};

use carteiro::receiver::Answer;

use crate::harness::{Process, Receiver, Site, acme, ids, report};

const EVENTS: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_deliverer_leaves_neither_gaps_nor_duplicates() {
    // 24 first attempts at once of 30 ms each take at least 2.5 s with one deliverer, and half of that with two.
    let receiver = Receiver::accepting_after(Duration::from_millis(30)).await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await.set("deliverer.slots", "32");
    let producer = site.start("producer").await;
    let (_router, mut first) = (site.start("router").await, site.start("deliverer").await);
    producer.ready().await;
    let api = producer.api();
    let publishing = tokio::spawn(async move { api.publish("acme", ids("event", EVENTS)).await });

    receiver.until("some are delivered", |recorder| recorder.delivered("/crm") >= 200).await;
    let second = site.start("deliverer").await;
    second.logged("delivery.attempted").await;
    let (asked, delivered) = (Instant::now(), receiver.look(|recorder| recorder.delivered("/crm")));
    assert!(delivered < EVENTS, "nothing was left to hand over");
    first.terminate().await;
    assert_eq!(first.ended().await, Some(0));
    let took = asked.elapsed();
    assert!(took < Process::DRAIN, "{took:?}");

    let mut accepted = publishing.await.expect("it publishes");
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    accepted.extend(producer.api().publish("acme", ids("last", 1)).await);
    receiver.until("the last arrives", |recorder| recorder.has_all("/crm", &accepted)).await;
    let counts = receiver.counts("/crm", &accepted);
    report("a deliverer drained", format!("{counts}; drained after {delivered}, within {took:.1?}"));
    assert_eq!((counts.lost, counts.duplicates, counts.unexpected), (0, 0, 0));
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_hanging_deliveries_are_done_after_the_restart() {
    let receiver = Receiver::start(|_| Answer::Hang).await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let mut standalone = site.start("standalone").await;
    let accepted = standalone.api().publish("acme", ids("hanging", 1)).await;
    receiver.until("the request hangs", |recorder| recorder.requests("/crm").len() == 1).await;

    let asked = Instant::now();
    standalone.terminate().await;
    standalone.logged("shutdown.requested").await;
    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(1));
    // The timeout for the endpoint's first byte is 10 s.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());

    let healthy = Receiver::accepting().await;
    site.configure(&acme(&healthy.url("/crm")));
    standalone.restart().await;
    healthy.until("it arrives after all", |recorder| recorder.has_all("/crm", &accepted)).await;
}
