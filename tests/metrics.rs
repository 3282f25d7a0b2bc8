//! The `/metrics` page of each role: every declared series is there from the start, and no other appears, however much is
//! configured and whatever happens.

use std::{fmt::Write as _, time::Duration};

use carteiro::{
    metrics::{merged, series, tables},
    receiver::{Answer, Received},
};
use reqwest::Method;
use serde_json::json;
use service::metrics::Spec;

use crate::harness::{AmqpClient, AmqpMessage, MetricsPage, Process, Receiver, Site, eventually, lint};

/// Tenants of a large installation.
const TENANTS: usize = 1_000;
const ENDPOINTS: usize = 10;
/// Tenants that get an event.
const BUSY: usize = 50;
/// Most series of a process.
const MAX_SERIES: usize = 2_000;

/// The first tenant's endpoints: the outcome of an attempt there, and the endpoint's path or URL.
const OUTCOMES: [(&str, &str); 9] = [
    ("2xx", "/200"),
    ("3xx", "/301"),
    ("4xx", "/404"),
    ("410", "/410"),
    ("429", "/429"),
    ("5xx", "/503"),
    ("timeout", "/hang"),
    ("connect", "http://127.0.0.1:1/"),
    ("blocked_ip", "http://10.0.0.1/"),
];

/// Answers with the status in the path.
fn script(received: &Received) -> Answer {
    received.path.trim_start_matches('/').parse().map_or(Answer::Hang, Answer::status)
}

/// The YAML of a thousand tenants, the first of which has an endpoint for each outcome.
fn large(receiver: &Receiver) -> String {
    let mut yaml = "tenants:\n  - id: t0\n    endpoints:\n".to_owned();
    for (class, target) in OUTCOMES {
        let url = if target.starts_with('/') { receiver.url(target) } else { target.to_owned() };
        let _ = writeln!(yaml, "      - {{id: \"e{class}\", url: \"{url}\", timeout: 1s}}");
    }
    yaml += "      - {id: off, url: \"https://crm.example/hooks\", state: disabled}\n    subscriptions:\n";
    for id in OUTCOMES.iter().map(|(class, _)| format!("e{class}")).chain(["off".to_owned()]) {
        let _ = writeln!(yaml, "      - {{id: \"s{id}\", endpoint_id: \"{id}\", event_types: [\"*\"]}}");
    }
    yaml += "    sources:\n      - {id: main, dialect: whazing, channel_id: 7, token: \"a-token-of-the-tests\"}\n";
    for tenant in 1..TENANTS {
        let _ = writeln!(yaml, "  - id: t{tenant}\n    endpoints:");
        for endpoint in 0..ENDPOINTS {
            let _ = writeln!(yaml, "      - {{id: e{endpoint}, url: \"{}\"}}", receiver.url("/200"));
        }
        yaml += "    subscriptions: [{id: all, endpoint_id: e0, event_types: [\"*\"]}]\n";
    }
    yaml
}

/// The metrics that a role declares, or `standalone` with all roles.
fn declared(role: &str) -> Vec<Spec> {
    let mut tables = tables();
    tables.retain(|(owner, _)| [role, "every process"].contains(owner) || role == "standalone");
    merged(&tables)
}

/// The series of all combinations of labels, as the page writes them; for a histogram its count.
fn written(spec: &Spec) -> Vec<String> {
    let mut labels = spec.labels.to_vec();
    labels.sort_by_key(|label| label.name);
    let combinations = labels.iter().fold(vec![String::new()], |before, label| {
        let pair = |begun: &String, value: &str| {
            let comma = if begun.is_empty() { "" } else { "," };
            format!("{begun}{comma}{}=\"{value}\"", label.name)
        };
        before.iter().flat_map(|begun| label.values.iter().map(move |value| pair(begun, value))).collect()
    });
    let name = if spec.kind.starts_with("Histogram") { format!("{}_count", spec.name) } else { spec.name.to_owned() };
    let series = |labels: String| if labels.is_empty() { name.clone() } else { format!("{name}{{{labels}}}") };
    combinations.into_iter().map(series).collect()
}

/// The page has every declared series, and besides them only those of the Prometheus library.
fn has_just_what_is_declared(role: &str, page: &MetricsPage) {
    let (later, declared): (Vec<_>, Vec<_>) =
        declared(role).into_iter().partition(|spec| spec.is_timestamp() && !spec.labels.is_empty());
    for series in declared.iter().flat_map(written) {
        assert!(page.series.contains_key(&series), "{role} lacks {series}");
    }
    let later: Vec<_> = later.iter().flat_map(written).collect();
    let ours = page.series.keys().filter(|series| series.starts_with("carteiro_") && !later.contains(*series));
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours.len(), series(&declared), "{role} has some that are not declared: {ours:?}");
    assert!(page.series.len() <= MAX_SERIES, "{role} has {} series", page.series.len());
    assert_eq!(lint(&page.text), "", "{role}");
}

/// All counters are 0, except those of notices and canaries, which processes send by themselves.
fn has_counted_nothing(role: &str, page: &MetricsPage) {
    let counters = declared(role).into_iter().filter(|spec| spec.kind.starts_with("IntCounter"));
    let by_itself = |spec: &Spec| ["notices_", "canary_"].iter().any(|part| spec.name.contains(part));
    for series in counters.filter(|spec| !by_itself(spec)).flat_map(|spec| written(&spec)) {
        assert_eq!(page.value(&series), 0.0, "{role}: {series}");
    }
}

/// Publishes events to many tenants and of a vendor, and some that are refused.
async fn publish(to: &Process) {
    let api = to.api();
    for tenant in 0..BUSY {
        let ids = vec![format!("event-{tenant}")];
        api.publish(&format!("t{tenant}"), ids).await;
    }
    api.publish("t1", vec!["event-1".to_owned()]).await;
    let vendor = json!({"event": "NewTicket", "ticketData": {"id": 1}});
    let json = |path: &str, body: String| {
        api.request(Method::POST, path).header("content-type", "application/json").body(body).send()
    };
    for (path, body, status) in [
        ("/v1/in/a-token-of-the-tests", vendor.to_string(), 202),
        ("/v1/in/another-token", vendor.to_string(), 404),
        ("/v1/tenants/t0/events", "{".to_owned(), 422),
        ("/v1/tenants/t0/events", json!({"type": "ticket"}).to_string(), 422),
        ("/v1/tenants/nobody/events", json!({"type": "ticket.created"}).to_string(), 404),
    ] {
        assert_eq!(json(path, body).await.expect("an answer").status(), status, "{path}");
    }
    let anonymous = api.anonymous(Method::POST, "/v1/tenants/t0/events").send().await.expect("an answer");
    assert_eq!(anonymous.status(), 401);
}

/// Waits until a process shows at least this.
async fn until(process: &Process, series: &str, least: f64) {
    eventually(series, || async { (MetricsPage::of(process).await.value(series) >= least).then_some(()) }).await;
}

/// Waits until a deliverer shows every outcome.
async fn every_outcome_is_seen(deliverer: &Process) {
    for (class, _) in OUTCOMES {
        until(deliverer, &format!("carteiro_attempts_total{{lane=\"fast\",outcome=\"{class}\"}}"), 1.0).await;
    }
    until(deliverer, "carteiro_dead_letters_total{reason=\"permanent\"}", 1.0).await;
    until(deliverer, "carteiro_dead_letters_total{reason=\"endpoint_disabled\"}", 1.0).await;
    until(deliverer, "carteiro_endpoints{state=\"disabled\"}", 1.0).await;
}

/// Enables the disabled endpoint, and replays its dead letters.
async fn replay(site: &Site, receiver: &Receiver, control: &Process) {
    site.configure(&large(receiver).replace("state: disabled", "state: active"));
    let replays = "/v1/tenants/t0/replays";
    let request = json!({"filter": {"reason": "endpoint_disabled"}});
    control.api().done(crate::harness::KEY, Method::POST, replays, Some(request)).await;
    until(control, "carteiro_replays_total{reason=\"endpoint_disabled\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_shows_the_declared_series_from_the_start_and_no_others_later() {
    let receiver = Receiver::start(script).await;
    let site = Site::on_rabbitmq(&large(&receiver)).await;
    let roles = ["producer", "router", "deliverer", "control"];
    let processes = futures_util::future::join_all(roles.map(|role| site.start(role))).await;
    for (role, process) in roles.iter().zip(&processes) {
        process.ready().await;
        let page = MetricsPage::of(process).await;
        has_just_what_is_declared(role, &page);
        has_counted_nothing(role, &page);
    }
    let [producer, router, deliverer, control] = &processes[..] else { unreachable!("four roles") };

    publish(producer).await;
    let amqp = AmqpClient::connect(&site).await;
    let key = "t0.-.-.ticket.created";
    amqp.publish(&AmqpMessage { key, id: Some("garbage"), tenant: None, body: b"no JSON" }).await;
    until(router, "carteiro_parked_total{reason=\"decode\"}", 1.0).await;
    until(control, "carteiro_park_log_total{reason=\"decode\"}", 1.0).await;
    every_outcome_is_seen(deliverer).await;
    replay(&site, &receiver, control).await;
    until(producer, "carteiro_publish_confirm_seconds_count{target=\"ingest\"}", BUSY as f64).await;
    until(router, "carteiro_publish_confirm_seconds_count{target=\"deliver\"}", BUSY as f64).await;
    until(deliverer, "carteiro_publish_confirm_seconds_count{target=\"delay\"}", 1.0).await;
    for (role, process) in roles.iter().zip(&processes) {
        has_just_what_is_declared(role, &MetricsPage::of(process).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_shows_the_declared_series_from_the_start_and_no_others_later() {
    let receiver = Receiver::start(script).await;
    let site = Site::embedded(&large(&receiver));
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let page = MetricsPage::of(&standalone).await;
    has_just_what_is_declared("standalone", &page);
    has_counted_nothing("standalone", &page);
    publish(&standalone).await;
    every_outcome_is_seen(&standalone).await;
    replay(&site, &receiver, &standalone).await;
    has_just_what_is_declared("standalone", &MetricsPage::of(&standalone).await);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_counts_as_a_failed_reload_and_the_snapshot_ages() {
    let site = Site::embedded("tenants: [{id: acme}]");
    let standalone = site.start("standalone").await;
    const CONFIRMED: &str = "carteiro_config_confirmed_timestamp_seconds";
    const FAILURES: &str = "carteiro_config_reload_failures_total";
    until(&standalone, CONFIRMED, 1.0).await;
    site.configure("tenants: {");
    until(&standalone, FAILURES, 1.0).await;
    let old = MetricsPage::of(&standalone).await;
    site.configure("tenants: [{id: beta}]");
    until(&standalone, CONFIRMED, old.value(CONFIRMED) + Duration::from_millis(1).as_secs_f64()).await;
    let new = MetricsPage::of(&standalone).await;
    assert_eq!((old.value(FAILURES), new.value(FAILURES)), (1.0, 1.0));
}
