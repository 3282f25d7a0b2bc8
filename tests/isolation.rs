//! A flooded endpoint gets its rate, and delays no other endpoint.

use std::time::{Duration, Instant};

use crate::harness::{Api, Receiver, Site, ids, report};

const PER_SECOND: usize = 10;
const FLOOD: usize = 500;
/// Seconds over which the rate is measured.
const MEASURED_SECONDS: usize = 5;

/// The YAML of a tenant whose endpoint has the tenant's name as its path.
fn tenant(name: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "  - id: {name}
    endpoints:
      - {{id: crm, url: \"{}\"{more}}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
",
        receiver.url(&format!("/{name}"))
    )
}

fn conf(receiver: &Receiver) -> String {
    let limit = format!(", rate_limit: {{per_second: {PER_SECOND}}}");
    format!("tenants:\n{}{}", tenant("flooded", receiver, &limit), tenant("calm", receiver, ""))
}

/// Floods one tenant's endpoint, and publishes a little to the other's.
async fn flood(api: &Api, receiver: &Receiver, deliverers: usize, test: &str) {
    api.publish("flooded", ids("flood", FLOOD)).await;
    let began = Instant::now();
    let calm = api.publish("calm", ids("calm", 20)).await;
    receiver.until("the other one has all of its own", |recorder| recorder.has_all("/calm", &calm)).await;
    let others = began.elapsed();
    receiver
        .until("a few seconds of it", |recorder| recorder.delivered("/flooded") >= MEASURED_SECONDS * PER_SECOND)
        .await;
    let times: Vec<_> =
        receiver.look(|recorder| recorder.requests("/flooded").iter().map(|request| request.at).collect());
    let second =
        |from: &Instant| times.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(*at)).count();
    let most = times.iter().map(second).max().expect("some");
    report(test, format_args!("{most} in its fullest second of {PER_SECOND}; the other had its 20 after {others:?}"));
    // For each deliverer, a request that arrives late may share a second with one more.
    assert!(most <= PER_SECOND + deliverers, "{most} in a second");
    assert!(others < Duration::from_secs(5), "the other one waited for {others:?}");
}

#[tokio::test]
async fn a_flooded_endpoint_gets_its_rate_and_delays_no_other() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&conf(&receiver));
    let standalone = site.start("standalone").await;
    flood(&standalone.api(), &receiver, 1, "flood, embedded").await;
}

#[tokio::test]
async fn deliverers_share_the_rate_of_an_endpoint_between_them() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&conf(&receiver)).await;
    let producer = site.start("producer").await;
    let _router = site.start("router").await;
    let (first, second) = tokio::join!(site.start("deliverer"), site.start("deliverer"));
    tokio::join!(producer.ready(), first.ready(), second.ready());
    flood(&producer.api(), &receiver, 2, "flood, two deliverers on RabbitMQ").await;
}
