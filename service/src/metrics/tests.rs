//! Declaring, sharing and writing metrics.

use super::*;

const REASONS: &[&str] = crate::label_values!(Reason::ALL, Reason::name);

#[derive(Clone, Copy)]
enum Reason {
    Decode,
    Schema,
}

impl Reason {
    const ALL: [Self; 2] = [Self::Decode, Self::Schema];

    const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Schema => "schema",
        }
    }
}

crate::metrics! {
    /// One role's.
    struct First {
        /// Events
        /// parked, by reason.
        parked: IntCounterVec("parked_total", [reason in REASONS]),
        /// Time of one POST.
        seconds: Histogram("attempt_seconds", buckets = [0.1, 1.0]),
        /// Under way.
        in_flight: IntGauge("in_flight"),
    }
}

crate::metrics! {
    /// Another role's.
    struct Second {
        /// Parked here.
        parked: IntCounterVec("parked_total", [reason in REASONS]),
        /// When each lane was seen.
        seen: GaugeVec("seen_timestamp_seconds", [lane in ["fast", "slow"]]),
        /// By outcome.
        seconds: HistogramVec("outcome_seconds", [outcome in ["2xx", "5xx"], lane in ["fast", "slow"]], buckets = [1.0]),
    }
}

crate::metrics! {
    /// Not the same parked.
    struct Differing {
        /// Parked, by tenant.
        parked: IntCounterVec("parked_total", [tenant]),
    }
}

#[test]
fn the_doc_comment_is_the_help_text_and_the_name_gets_its_prefix() {
    let registry = Registry::default();
    let metrics = First::register(&registry).unwrap();
    metrics.parked.with_label_values(&["decode"]).inc();
    metrics.seconds.observe(0.5);
    metrics.in_flight.set(3);
    let text = registry.encode().unwrap();
    for line in [
        "# HELP carteiro_parked_total Events parked, by reason.",
        "carteiro_parked_total{reason=\"decode\"} 1",
        "carteiro_attempt_seconds_bucket{le=\"0.1\"} 0",
        "carteiro_attempt_seconds_bucket{le=\"1\"} 1",
        "carteiro_in_flight 3",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn two_roles_of_one_process_share_a_metric_of_the_same_name_and_shape() {
    let registry = Registry::default();
    let first = First::register(&registry).unwrap();
    let second = Second::register(&registry).unwrap();
    first.parked.with_label_values(&["decode"]).inc();
    second.parked.with_label_values(&["decode"]).inc();
    second.seconds.with_label_values(&["2xx", "fast"]).observe(0.1);
    assert!(registry.encode().unwrap().contains("carteiro_parked_total{reason=\"decode\"} 2"));
}

#[test]
fn one_name_with_two_shapes_is_refused() {
    let registry = Registry::default();
    First::register(&registry).unwrap();
    let error = Differing::register(&registry).map(|metrics| metrics.parked).unwrap_err();
    assert_eq!(error.to_string(), "carteiro_parked_total is declared twice, differently");
}

#[test]
fn every_series_is_there_with_its_zero_before_anything_happened_and_their_number_was_declared() {
    let registry = Registry::default();
    First::register(&registry).unwrap();
    Second::register(&registry).unwrap();
    let text = registry.encode().unwrap();
    for line in [
        "carteiro_parked_total{reason=\"decode\"} 0",
        "carteiro_parked_total{reason=\"schema\"} 0",
        "carteiro_outcome_seconds_count{lane=\"slow\",outcome=\"5xx\"} 0",
        "carteiro_in_flight 0",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
    let written = text.lines().filter(|line| !line.starts_with('#')).count();
    let all = First::SPECS.iter().chain(&Second::SPECS[1..]).filter(|spec| !spec.is_timestamp());
    assert_eq!(written, all.map(Spec::series).sum::<usize>());
}

#[test]
fn a_time_is_not_there_before_there_is_one() {
    let registry = Registry::default();
    let metrics = Second::register(&registry).unwrap();
    assert!(!registry.encode().unwrap().contains("seen_timestamp_seconds"));
    metrics.seen.with_label_values(&["fast"]).set(1.5);
    let text = registry.encode().unwrap();
    assert!(text.contains("carteiro_seen_timestamp_seconds{lane=\"fast\"} 1.5"), "{text}");
    assert!(!text.contains("carteiro_seen_timestamp_seconds{lane=\"slow\"}"), "{text}");
}

#[test]
fn the_declarations_are_a_table() {
    let names: Vec<_> = First::SPECS.iter().map(|spec| (spec.name, spec.kind, spec.help(), spec.labels)).collect();
    let reason = Label { name: "reason", values: &["decode", "schema"] };
    assert_eq!(names[0], ("carteiro_parked_total", "IntCounterVec", "Events parked, by reason.", &[reason][..]));
    assert_eq!(names.len(), 3);
}

#[test]
fn a_process_says_which_build_it_is_and_what_it_uses() {
    let text = Registry::for_process("0.1.0", "abc").unwrap().encode().unwrap();
    assert!(text.contains("carteiro_build_info{revision=\"abc\",version=\"0.1.0\"} 1"), "{text}");
    #[cfg(target_os = "linux")]
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}
