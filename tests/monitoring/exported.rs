//! The metrics that queries may use: those that the roles declare, that Prometheus adds, that rules record, and the list of
//! RabbitMQ's below, which `prometheus.rs` compares with a real node.

use std::collections::BTreeMap;

use super::{query, rules};

/// The labels of a metric, and the values of each; an empty list allows any value.
type Labels = BTreeMap<String, Vec<String>>;

/// The exported metrics, by name.
#[derive(Default)]
pub(crate) struct ExportedMetrics(BTreeMap<String, Labels>);

/// The metrics of RabbitMQ that are used, with their labels.
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

/// The metrics that the Prometheus client library adds for a process.
const PROCESS: [&str; 5] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

const ROLES: [&str; 6] = ["producer", "router", "deliverer", "worker", "control", "standalone"];

/// All exported metrics.
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

/// The labels that a scrape adds.
fn targets() -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let roles = ROLES.map(str::to_owned).to_vec();
    [("job", Vec::new()), ("role", roles), ("instance", Vec::new())].into_iter()
}

impl ExportedMetrics {
    /// The labels of a metric, if it is exported.
    pub(super) fn labels(&self, metric: &str) -> Option<&Labels> {
        self.0.get(metric)
    }

    /// Adds a metric. Where several export the same, the values of all are allowed.
    fn add<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'a str, Vec<String>)>) {
        let known = self.0.entry(name.to_owned()).or_default();
        for (label, values) in labels {
            known.entry(label.to_owned()).or_default().extend(values);
        }
    }
}
