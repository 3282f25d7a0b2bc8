//! Every metric of every role, as one table: what `docs/metrics.md` is made from.

use std::fmt::Write as _;

use service::metrics::{Registry, Spec};

use crate::process::{BeatMetrics, Vitals};

/// The metrics by who has them. `standalone` has all of them.
pub fn tables() -> Vec<(&'static str, Vec<Spec>)> {
    vec![
        ("every process", [Registry::SPECS, Vitals::SPECS, BeatMetrics::SPECS].concat()),
        ("producer", producer::ProducerMetrics::SPECS.to_vec()),
        ("router", router::RouterMetrics::SPECS.to_vec()),
        ("deliverer", [deliverer::DelivererMetrics::SPECS, deliverer::CanaryMetrics::SPECS].concat()),
        ("control", control::ControlMetrics::SPECS.to_vec()),
    ]
}

/// They as a page in Markdown.
pub fn page() -> String {
    let mut page = "# Metrics\n\n\
        At `/metrics` of the ops listener, in the Prometheus text format. Made from the declarations in the code: a test\n\
        compares. No tenant, endpoint or URL is ever a label, so that their number is not a number of series. Seconds and\n\
        bytes are the units; counters end in `_total`. On Linux every process also has `process_*` of the Prometheus\n\
        client library: memory, CPU time, open files, start time.\n"
        .to_owned();
    for (owner, specs) in tables() {
        let _ = write!(page, "\n## {}{}\n\n", owner[..1].to_uppercase(), &owner[1..]);
        page += "| metric | type | labels | what it says |\n|---|---|---|---|\n";
        for spec in specs {
            let labels: Vec<_> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(page, "| `{}` | {} | {} | {} |", spec.name, kind(&spec), labels.join(", "), spec.help());
        }
    }
    page
}

/// The type's name in Prometheus.
fn kind(spec: &Spec) -> &'static str {
    match spec.kind {
        kind if kind.starts_with("IntCounter") => "counter",
        kind if kind.starts_with("Histogram") => "histogram",
        _ => "gauge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_is_declared() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_METRICS").is_some() {
            std::fs::write(&file, page()).expect("the page can be written");
        }
        let committed = std::fs::read_to_string(&file).expect("docs/metrics.md");
        assert!(committed == page(), "docs/metrics.md differs: run the test with UPDATE_METRICS=1 and commit it");
    }

    #[test]
    fn every_metric_says_what_it_counts_in_one_sentence_and_of_nobody() {
        for (owner, specs) in tables() {
            assert!(!specs.is_empty(), "{owner} has none");
            for spec in specs {
                assert!(spec.help().ends_with('.'), "{}: {:?} is no sentence", spec.name, spec.help());
                for label in spec.labels {
                    assert!(!["tenant", "endpoint", "endpoint_id", "url"].contains(label), "{} has {label}", spec.name);
                }
            }
        }
    }
}
