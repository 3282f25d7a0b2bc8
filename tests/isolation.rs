//! A flooded endpoint gets its rate, and delays no other endpoint; a tenant's large bodies delay no other tenant.

use std::time::{Duration, Instant};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;

use crate::harness::{Api, Receiver, Site, ids, in_time, report};

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

/// Bytes of each large body, and bytes of bodies that a deliverer may have in hand: eight of them in each lane.
const LARGE: usize = 100_000;
const IN_HAND: usize = 16 * LARGE;
/// How long the endpoint takes that gets large bodies.
const SLOW: Duration = Duration::from_secs(20);
/// Number of large bodies: many more than both lanes may have in hand. In their order, four would move on every two seconds,
/// and what comes behind them would take half a minute.
const BODIES: usize = 60;

/// A tenant with a slow endpoint that gets large bodies, and another tenant beside it.
struct BesideLarge {
    receiver: Receiver,
    conf: String,
    /// Number of large bodies that have arrived.
    arrived: watch::Receiver<usize>,
    /// The endpoint is slow no more.
    is_quick: watch::Sender<bool>,
}

impl BesideLarge {
    async fn start() -> Self {
        let (count, arrived) = watch::channel(0);
        let (is_quick, quick) = watch::channel(false);
        let receiver = Receiver::without_bodies(move |received| {
            let is_large = received.path == "/large";
            count.send_modify(|count| *count += usize::from(is_large));
            Answer::Status(200, if is_large && !*quick.borrow() { SLOW } else { Duration::ZERO })
        })
        .await;
        let large = tenant("large", &receiver, ", timeout: 60s");
        let conf = format!("tenants:\n{large}{}", tenant("calm", &receiver, ""));
        Self { receiver, conf, arrived, is_quick }
    }

    fn limited(site: Site) -> Site {
        site.set("deliverer.max_in_flight_bytes", &IN_HAND.to_string()).set("deliverer.first_byte_timeout", "60s")
    }

    /// Fills the slow endpoint with large bodies, and publishes small ones for the other tenant meanwhile.
    async fn show(mut self, api: &Api, test: &str) {
        let text = "x".repeat(LARGE);
        for number in 0..BODIES {
            let event = json!({"id": format!("large-{number}"), "type": "ticket.created", "text": text}).to_string();
            let request = api.request(Method::POST, "/v1/tenants/large/events");
            let answer =
                request.header("content-type", "application/json").body(event).send().await.expect("an answer");
            assert_eq!(answer.status(), 202);
        }
        in_time("the slow endpoint is busy", self.arrived.wait_for(|arrived| *arrived >= 4)).await.expect("a receiver");
        let began = Instant::now();
        let calm = api.publish("calm", ids("calm", 20)).await;
        let receiver = &self.receiver;
        receiver.until("the other tenant has all of its own", |recorder| recorder.has_all("/calm", &calm)).await;
        let others = began.elapsed();
        let large = receiver.look(|recorder| recorder.delivered("/large"));
        report(test, format_args!("the other tenant had its 20 after {others:?}"));
        assert!(others < Duration::from_secs(5), "the other tenant waited for {others:?}");
        assert_eq!(large, 0, "the other tenant waited for the large bodies");
        self.is_quick.send_replace(true);
        receiver.until("nothing large is lost", |recorder| recorder.delivered("/large") == BODIES).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_large_bodies_and_a_slow_endpoint_delays_no_other_tenant() {
    let beside = BesideLarge::start().await;
    let site = BesideLarge::limited(Site::embedded(&beside.conf));
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    beside.show(&standalone.api(), "large bodies, embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_large_bodies_and_a_slow_endpoint_delays_no_other_tenant_on_rabbitmq() {
    let beside = BesideLarge::start().await;
    let site = BesideLarge::limited(Site::on_rabbitmq(&beside.conf).await);
    let (producer, _router) = (site.start("producer").await, site.start("router").await);
    let deliverer = site.start("deliverer").await;
    tokio::join!(producer.ready(), deliverer.ready());
    beside.show(&producer.api(), "large bodies, RabbitMQ").await;
}
