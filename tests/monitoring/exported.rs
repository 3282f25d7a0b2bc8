//! Everything that can be asked for: what the roles declare, what Prometheus adds, what is recorded, and of RabbitMQ what is
//! named here, which `prometheus.rs` compares with a real node.

use std::collections::BTreeMap;

use super::{query, rules};

/// A label, and what it may say; nothing: anything.
type Labels = BTreeMap<String, Vec<String>>;

/// What can be asked for.
#[derive(Default)]
pub(crate) struct ExportedMetrics(BTreeMap<String, Labels>);

/// RabbitMQ's metrics that are asked for, with the labels it gives them.
pub(crate) const RABBITMQ: &[(&str, &[&str])] = &[
    ("rabbitmq_alarms_free_disk_space_watermark", &[]),
    ("rabbitmq_alarms_memory_used_watermark", &[]),
    ("rabbitmq_detailed_queue_consumers", &["vhost", "queue"]),
    ("rabbitmq_detailed_queue_messages", &["vhost", "queue"]),
    ("rabbitmq_detailed_queue_messages_ready", &["vhost", "queue"]),
    ("rabbitmq_detailed_queue_messages_unacked", &["vhost", "queue"]),
    ("rabbitmq_disk_space_available_bytes", &[]),
    ("rabbitmq_disk_space_available_limit_bytes", &[]),
    ("rabbitmq_global_messages_dead_lettered_confirmed_total", &["queue_type", "dead_letter_strategy"]),
    ("rabbitmq_global_messages_dead_lettered_delivery_limit_total", &["queue_type", "dead_letter_strategy"]),
    ("rabbitmq_global_messages_dead_lettered_expired_total", &["queue_type", "dead_letter_strategy"]),
    ("rabbitmq_global_messages_dead_lettered_rejected_total", &["queue_type", "dead_letter_strategy"]),
    ("rabbitmq_process_resident_memory_bytes", &[]),
    ("rabbitmq_resident_memory_limit_bytes", &[]),
];

/// What the Prometheus client library says of a process, of which the story sees that it is there.
const PROCESS: [&str; 5] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

const ROLES: [&str; 5] = ["producer", "router", "deliverer", "control", "standalone"];

/// All of it.
pub(crate) fn exported() -> ExportedMetrics {
    let mut all = ExportedMetrics::default();
    for spec in carteiro::metrics::tables().into_iter().flat_map(|(_, specs)| specs) {
        let own =
            spec.labels.iter().map(|label| (label.name, label.values.iter().map(|&value| value.to_owned()).collect()));
        let own: Vec<(&str, Vec<String>)> = own.chain(targets()).collect();
        if spec.kind.starts_with("Histogram") {
            let bounds = spec.buckets.iter().map(f64::to_string).collect();
            all.add(&format!("{}_bucket", spec.name), own.iter().cloned().chain([("le", bounds)]));
            all.add(&format!("{}_sum", spec.name), own.iter().cloned());
            all.add(&format!("{}_count", spec.name), own);
        } else {
            all.add(spec.name, own);
        }
    }
    for name in PROCESS {
        all.add(name, targets());
    }
    for (name, labels) in RABBITMQ {
        all.add(name, labels.iter().chain(&["job", "instance"]).map(|&label| (label, Vec::new())));
    }
    all.add("up", targets());
    let alerts = rules().filter_map(|rule| rule.alert).collect();
    let states = vec!["pending".to_owned(), "firing".to_owned()];
    all.add("ALERTS", [("alertname", alerts), ("alertstate", states), ("severity", Vec::new())]);
    for rule in rules() {
        if let Some(name) = &rule.record {
            let labels = query::labels(&rule.expr, &all).unwrap_or_else(|error| panic!("{name}: {error}"));
            let free = labels.iter().map(|label| (label.as_str(), Vec::new()));
            all.add(name, free.chain(rule.labels.iter().map(|(label, value)| (label.as_str(), vec![value.clone()]))));
        }
    }
    all
}

/// What a scrape adds.
fn targets() -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let roles = ROLES.map(str::to_owned).to_vec();
    [("job", Vec::new()), ("role", roles), ("instance", Vec::new())].into_iter()
}

impl ExportedMetrics {
    /// The labels of a metric, if there is such.
    pub(super) fn labels(&self, metric: &str) -> Option<&Labels> {
        self.0.get(metric)
    }

    /// Several may declare the same: what one of them says can be asked for.
    fn add<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'a str, Vec<String>)>) {
        let known = self.0.entry(name.to_owned()).or_default();
        for (label, values) in labels {
            known.entry(label.to_owned()).or_default().extend(values);
        }
    }
}
