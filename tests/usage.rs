//! Usage that routers and deliverers count reaches control in another process.

use reqwest::Method;

use crate::harness::{Process, Receiver, Site, acme, eventually, ids};

/// The value of a process' series, or 0 when it is missing.
async fn metric(process: &Process, line: &str) -> u64 {
    let answer = process.ops().anonymous(Method::GET, "/metrics").send().await.expect("an answer");
    let text = answer.text().await.expect("text");
    let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_reported_over_the_broker_until_control_has_noted_it() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let deliverer = site.start("deliverer").await;
    producer.ready().await;
    let accepted = producer.api().publish("acme", ids("event", 100)).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;

    // Reports that control missed are sent again.
    let mut control = site.start("control").await;
    eventually("a tenant's events, its endpoint's deliveries and attempts are kept", || async {
        (metric(&control, "carteiro_findings_kept_total").await >= 3).then_some(())
    })
    .await;
    for process in [&router, &deliverer] {
        eventually("it receives that", || async {
            (metric(process, "carteiro_notices_received_total{kind=\"noted\"}").await >= 2).then_some(())
        })
        .await;
    }
    assert_eq!(metric(&control, "carteiro_findings_not_kept_total").await, 0);
    control.terminate().await;
    assert_eq!(control.ended().await, Some(0));
}
