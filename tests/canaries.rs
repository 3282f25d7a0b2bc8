//! Canaries on real brokers: they pass every lane and delay also without any traffic, and one that does not arrive is seen.

use reqwest::Method;
use serde_json::Value;

use crate::harness::{AmqpClient, Process, Receiver, Site, acme, eventually};

/// The lanes and delays whose canaries arrive within seconds. Those of longer delays only wait longer.
const QUICK: [&str; 6] = ["fast", "slow", "1s", "2s", "5s", "10s"];

/// The sum of all series of a process that begin with `series`.
async fn sum(process: &Process, series: &str) -> f64 {
    let answer = process.ops().anonymous(Method::GET, "/metrics").send().await.expect("an answer");
    let text = answer.text().await.expect("text");
    let values = text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

async fn arrivals(process: &Process, level: &str) -> f64 {
    sum(process, &format!("carteiro_canary_seconds_count{{level=\"{level}\"}}")).await
}

async fn all_arrive(process: &Process) {
    for level in QUICK {
        let what = format!("a canary of {level} arrives");
        eventually(&what, || async { (arrivals(process, level).await >= 1.0).then_some(()) }).await;
    }
}

#[tokio::test]
async fn each_lane_and_delay_of_the_embedded_broker_has_its_canary() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm"))).set("deliverer.canary", "1s");
    let standalone = site.start("standalone").await;
    all_arrive(&standalone).await;
    assert!(receiver.look(|recorder| recorder.requests("/crm").is_empty()), "an endpoint was posted to");
    assert_eq!(sum(&standalone, "carteiro_attempts_total").await, 0.0);
    assert_eq!(sum(&standalone, "carteiro_parked_total").await, 0.0);
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lane_and_delay_of_rabbitmq_has_its_canary_and_a_missing_queue_shows() {
    let site = Site::on_rabbitmq(&acme("http://127.0.0.1:9/")).await.set("deliverer.canary", "1s");
    let [first, second] = [site.start("deliverer").await, site.start("deliverer").await];
    all_arrive(&first).await;
    // A deliverer also receives canaries that another has sent.
    let (sent, arrived) =
        (sum(&second, "carteiro_canary_sent_total").await, sum(&second, "carteiro_canary_seconds_c").await);
    assert!(sent > 0.0 && arrived > 0.0, "{sent} sent, {arrived} arrived");
    // The liveness probes of its connections are counted as well.
    for connection in ["consuming", "publishing", "control"] {
        let series = format!("carteiro_broker_heartbeat_seconds_count{{connection=\"{connection}\"}}");
        eventually(&series, || async { (sum(&first, &series).await >= 1.0).then_some(()) }).await;
    }

    let amqp = AmqpClient::connect(&site).await;
    amqp.delete(&format!("{}.v1.delay.2s", site.broker().prefix)).await;
    let arrived = |level: &'static str| {
        let (first, second) = (&first, &second);
        let series = format!("carteiro_canary_arrived_timestamp_seconds{{level=\"{level}\"}}");
        async move { sum(first, &series).await.max(sum(second, &series).await) }
    };
    eventually("canaries of one delay are missing, and those of the others are not", || async {
        (arrived("1s").await - arrived("2s").await >= 10.0).then_some(())
    })
    .await;
    assert_eq!(sum(&first, "carteiro_canary_unreadable_total").await, 0.0);
    // The broker has parked them as unroutable. They belong to no tenant and are not listed.
    let parked = site.look(&["parked", "list", "--output", "json"]).await;
    assert_eq!(String::from_utf8_lossy(&parked.stdout), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_stop_with_a_drain_and_those_left_hinder_no_removal() {
    let site = Site::on_rabbitmq(&acme("http://127.0.0.1:9/")).await.set("deliverer.canary", "1s");
    let deliverer = site.start("deliverer").await;
    eventually("some wait for minutes", || async {
        (sum(&deliverer, "carteiro_canary_sent_total{level=\"5m\"}").await >= 1.0).then_some(())
    })
    .await;
    let draining = site.command().args(["topology", "drain", "--yes"]).stderr(std::process::Stdio::null()).spawn();
    let received = |often: f64| {
        let deliverer = &deliverer;
        eventually("it receives the notice", move || async move {
            (sum(deliverer, "carteiro_notices_received_total{kind=\"intake\"}").await >= often).then_some(())
        })
    };
    received(1.0).await;
    let sent = sum(&deliverer, "carteiro_canary_sent_total").await;
    received(4.0).await;
    // One may have been under way to the broker. Without the drain three seconds would bring thirty.
    assert!(sum(&deliverer, "carteiro_canary_sent_total").await - sent <= 1.0);
    drop(draining.expect("it runs"));

    assert_eq!(deliverer.end().await, 0);
    let removed = site.run(&["topology", "remove", "--yes"]).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&removed.stdout), String::from_utf8_lossy(&removed.stderr));
    assert_eq!((removed.status.code(), &*stdout), (Some(0), "everything is deleted\n"), "{stderr}");
}

#[tokio::test]
async fn a_process_is_alive_and_ready_once_it_can_consume_or_publish() {
    let site = Site::on_rabbitmq("tenants: []").await;
    for role in ["router", "deliverer", "producer", "control"] {
        let process = site.start(role).await;
        process.ready().await;
        let healthy = process.ops().anonymous(Method::GET, "/healthz").send().await.expect("it answers");
        let body: Value = serde_json::from_str(&healthy.text().await.expect("a body")).expect("JSON");
        assert_eq!(body, serde_json::json!({"alive": true}), "{role}");
    }
}
