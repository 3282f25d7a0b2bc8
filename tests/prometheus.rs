//! A real Prometheus with the committed rules, on real processes under load: it answers every query of the dashboards,
//! evaluates every rule, and fires no alert.

use std::collections::BTreeSet;

use carteiro::receiver::Answer;

use crate::{
    harness::{AmqpClient, AmqpMessage, Process, Prometheus, Rabbit, Receiver, Site, client, eventually, ids},
    monitoring::{RABBITMQ, dashboards, rules},
};

/// The YAML of a tenant with three endpoints that get everything: one accepts, one fails, one answers 410.
fn conf(receiver: &Receiver) -> String {
    let (mut endpoints, mut subscriptions) = (String::new(), String::new());
    for id in ["healthy", "failing", "gone"] {
        endpoints += &format!("      - {{id: {id}, url: \"{}\"}}\n", receiver.url(&format!("/{id}")));
        subscriptions += &format!("      - {{id: {id}, endpoint_id: {id}, event_types: [\"*\"]}}\n");
    }
    format!("tenants:\n  - id: acme\n    endpoints:\n{endpoints}    subscriptions:\n{subscriptions}")
}

fn answer(path: &str) -> Answer {
    Answer::status(match path {
        "/failing" => 503,
        "/gone" => 410,
        _ => 200,
    })
}

struct Fixture {
    receiver: Receiver,
    site: Site,
    roles: Vec<(&'static str, Process)>,
    prometheus: Prometheus,
    rabbit: Rabbit,
}

impl Fixture {
    async fn start() -> Self {
        let rabbit = Rabbit::with_metrics().await;
        let receiver = Receiver::start(|request| answer(&request.path)).await;
        let site = Site::on(rabbit.url(), &conf(&receiver))
            .set("deliverer.breaker.failures", "20")
            // Shorter than the defaults, so that there is something to see.
            .set("deliverer.breaker.first", "1s")
            .set("deliverer.breaker.longest", "1s")
            .set("deliverer.canary", "2s");
        let mut roles = Vec::new();
        for role in ["producer", "router", "deliverer", "control"] {
            roles.push((role, site.start(role).await));
        }
        for (_, process) in &roles {
            process.ready().await;
        }
        let processes: Vec<_> = roles.iter().map(|(role, process)| (*role, process)).collect();
        let prometheus = Prometheus::start(&site.path(""), &processes, &rabbit.metrics().await).await;
        eventually("it scrapes everything", || async {
            let up = prometheus.query("up == 1").await.len();
            (up == roles.len() + 2).then_some(())
        })
        .await;
        Self { receiver, site, roles, prometheus, rabbit }
    }

    /// Publishes events for all endpoints, and a message that is no event.
    async fn load(&self) {
        let (_, producer) = &self.roles[0];
        let accepted = producer.api().publish("acme", ids("load", 500)).await;
        self.receiver.until("the healthy one has all", |recorder| recorder.has_all("/healthy", &accepted)).await;
        let garbage =
            AmqpMessage { key: "acme.-.-.ticket.created", id: Some("garbage"), tenant: None, body: b"no JSON" };
        AmqpClient::connect(&self.site).await.publish(&garbage).await;
    }

    /// Waits until a query gives a number: a rate needs two scrapes, and a quantile observations between them.
    async fn answers(&self, query: &str, place: &str) {
        let what = format!("{place}: {query}");
        eventually(&what, || async {
            let samples = self.prometheus.query(query).await;
            samples.iter().any(|sample| sample.value.is_finite()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn prometheus_answers_every_dashboard_evaluates_every_rule_and_fires_no_alert() {
    let fixture = Fixture::start().await;
    fixture.load().await;
    for dashboard in dashboards() {
        for (panel, query) in dashboard.queries("1m") {
            fixture.answers(&query, &format!("{}, {panel}", dashboard.uid)).await;
        }
    }
    for name in rules().filter_map(|rule| rule.record).collect::<BTreeSet<_>>() {
        fixture.answers(&name, "recorded").await;
    }
    fixture.answers("carteiro_park_log_total{reason=\"decode\"} > 0", "what was parked").await;
    // With `file:` each process counts its own revisions. Compared, they would seem to differ.
    assert!(fixture.prometheus.query("carteiro_config_revision > 0").await.is_empty());
    fixture.answers("carteiro_dead_letters_total{reason=\"permanent\"} > 0", "what was given up").await;

    let evaluated = fixture.prometheus.rules().await;
    assert_eq!(evaluated.len(), rules().count());
    for rule in evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    fixture.rabbitmq_exports_the_listed_metrics().await;
}

impl Fixture {
    /// The node exports RabbitMQ's metrics in the list against which the queries are checked: another release may name them
    /// differently.
    async fn rabbitmq_exports_the_listed_metrics(&self) {
        let address = self.rabbit.metrics().await;
        let mut text = String::new();
        for path in ["metrics", "metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count"] {
            let answer = client().get(format!("http://{address}/{path}")).send().await.expect("it answers");
            text += &answer.text().await.expect("a text");
        }
        for (name, labels) in RABBITMQ {
            let series =
                text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
            let series = series.unwrap_or_else(|| panic!("this RabbitMQ has no {name}"));
            for label in *labels {
                assert!(series.contains(&format!("{label}=\"")), "{series} has no {label}");
            }
        }
    }
}
