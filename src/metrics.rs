//! The tables of every role's metrics, from which `docs/metrics.md` is made.

use std::{fmt::Write as _, time::Duration};

use history::RecorderMetrics;
use schemas::Span;
use service::metrics::{Label, Registry, Spec};

use crate::process::{HeartbeatMetrics, NoticeMetrics, PublishMetrics, ReadinessMetrics, StorageMetrics};

/// The metrics of each role, and those of every process. `standalone` has all of them.
pub fn tables() -> Vec<(&'static str, Vec<Spec>)> {
    let everywhere = [
        Registry::SPECS,
        ReadinessMetrics::SPECS,
        PublishMetrics::SPECS,
        NoticeMetrics::SPECS,
        HeartbeatMetrics::SPECS,
        StorageMetrics::SPECS,
    ];
    vec![
        ("every process", everywhere.concat()),
        ("producer", producer::ProducerMetrics::SPECS.to_vec()),
        ("router", [router::RouterMetrics::SPECS, RecorderMetrics::SPECS].concat()),
        (
            "deliverer",
            [deliverer::DelivererMetrics::SPECS, deliverer::CanaryMetrics::SPECS, RecorderMetrics::SPECS].concat(),
        ),
        ("control", [control::ControlMetrics::SPECS, control::HistoryMetrics::SPECS, RecorderMetrics::SPECS].concat()),
    ]
}

pub fn page() -> String {
    let mut page = "# Metrics\n\n\
        At `/metrics` of the ops listener, in the Prometheus text format. Made from the declarations in the code: a test\n\
        compares. No tenant, endpoint or URL is ever a label, so that their number is not a number of series. Seconds and\n\
        bytes are the units; counters end in `_total`. On Linux every process also has `process_*` of the Prometheus\n\
        client library: memory, CPU time, open files, start time.\n\n\
        Labels have the values that are shown, and every combination is there with its 0 from the start: `rate()` and\n\
        alerts see the first increment, and dashboards may rely on it. Only times (`*_timestamp_seconds`) with labels come\n\
        with their first value. So the series are as many as is said here, besides `process_*`, whatever is configured\n\
        and whatever happens"
        .to_owned();
    let _ = writeln!(page, "; `standalone`, which has all, {}.", series(&merged(&tables())));
    for (owner, specs) in tables() {
        let _ = write!(page, "\n## {}{}\n\n{} series.\n\n", owner[..1].to_uppercase(), &owner[1..], series(&specs));
        page += "| metric | type | labels | what it says |\n|---|---|---|---|\n";
        for spec in &specs {
            let (kind, labels) = (kind(spec), spec.labels.iter().map(label).collect::<Vec<_>>());
            let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", spec.name, labels.join("; "), spec.help());
        }
    }
    page
}

/// The metrics of all tables in one process, without repeats: roles share metrics of the same name.
pub fn merged(tables: &[(&'static str, Vec<Spec>)]) -> Vec<Spec> {
    let mut specs: Vec<Spec> = Vec::new();
    for spec in tables.iter().flat_map(|(_, specs)| specs) {
        if specs.iter().all(|known| known.name != spec.name) {
            specs.push(*spec);
        }
    }
    specs
}

pub fn series(specs: &[Spec]) -> usize {
    specs.iter().map(Spec::series).sum()
}

fn label(label: &Label) -> String {
    let values: Vec<_> = label.values.iter().map(|value| format!("`{value}`")).collect();
    if values.is_empty() { format!("`{}`", label.name) } else { format!("`{}`: {}", label.name, values.join(" ")) }
}

/// The metric's type in Prometheus; for a histogram with its least and greatest bucket.
fn kind(spec: &Spec) -> String {
    match spec.kind {
        kind if kind.starts_with("IntCounter") => "counter".to_owned(),
        kind if kind.starts_with("Histogram") => match spec.buckets {
            [least, .., most] => format!("histogram, {} to {}", bound(spec, *least), bound(spec, *most)),
            _ => "histogram".to_owned(),
        },
        _ => "gauge".to_owned(),
    }
}

fn bound(spec: &Spec, bound: f64) -> String {
    match spec.name.ends_with("_seconds") {
        true => Span(Duration::from_secs_f64(bound)).to_string(),
        false => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Room for the `process_*` series of the Prometheus library.
    const LIBRARY: usize = 20;

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
    fn every_metric_has_a_sentence_as_its_help_and_no_tenant_or_url_as_a_label() {
        for (owner, specs) in tables() {
            assert!(!specs.is_empty(), "{owner} has none");
            for spec in specs {
                assert!(spec.help().ends_with('.'), "{}: {:?} is no sentence", spec.name, spec.help());
                for Label { name, .. } in spec.labels {
                    assert!(!["tenant", "endpoint", "endpoint_id", "url"].contains(name), "{} has {name}", spec.name);
                }
            }
        }
    }

    #[test]
    fn every_label_declares_its_values_except_the_builds() {
        for spec in merged(&tables()).iter().filter(|spec| spec.name != "carteiro_build_info") {
            for Label { name, values } in spec.labels {
                let each: BTreeSet<_> = values.iter().collect();
                assert!(!values.is_empty() && each.len() == values.len(), "{}: {name} has {values:?}", spec.name);
            }
        }
    }

    #[test]
    fn metrics_of_one_name_are_declared_alike() {
        let known = merged(&tables());
        for spec in tables().iter().flat_map(|(_, specs)| specs) {
            let same = |other: &&Spec| (other.name, other.kind) == (spec.name, spec.kind);
            let other = known.iter().find(same).expect("of the same kind");
            assert_eq!((other.labels, other.buckets), (spec.labels, spec.buckets), "{}", spec.name);
        }
    }

    #[test]
    fn no_process_can_have_more_than_two_thousand_series() {
        assert!(series(&merged(&tables())) <= 2_000 - LIBRARY, "{}", series(&merged(&tables())));
    }
}
