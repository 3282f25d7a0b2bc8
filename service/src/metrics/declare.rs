//! Declarations of metrics. [`metrics!`](crate::metrics!) turns a struct into a table of [`Spec`]s and registers a metric
//! for each; [`Metric::make`] makes a metric from its `Spec`.
//!
//! A label is declared with all its values, so that every series exists with the value 0 from the start: `rate()` and
//! alerts then see the first increment, dashboards have no gaps, and the number of series is known in advance. Only
//! timestamps (`*_timestamp_seconds`) have no series before their first value, because 0 would be a valid time.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, Opts, Result};

use super::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Declares a struct of metrics, with `register(&Registry)` and the table `SPECS`.
///
/// ```
/// service::metrics! {
///     /// What the router counts.
///     pub struct RouterMetrics {
///         /// Events routed.
///         pub routed: IntCounter("events_routed_total"),
///         /// Events parked, by reason.
///         pub parked: IntCounterVec("parked_total", [reason in ["decode", "schema"]]),
///         /// Deliveries made of one event.
///         pub fan_out: Histogram("router_fan_out_deliveries", buckets = [0.0, 1.0, 10.0, 100.0, 1000.0]),
///     }
/// }
/// let registry = service::metrics::Registry::default();
/// let metrics = RouterMetrics::register(&registry)?;
/// metrics.parked.with_label_values(&["decode"]).inc();
/// assert!(registry.encode()?.contains(r#"carteiro_parked_total{reason="decode"} 1"#));
/// assert!(registry.encode()?.contains(r#"carteiro_parked_total{reason="schema"} 0"#));
/// # Ok::<(), service::metrics::InvalidMetric>(())
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $Name:ident {$(
            $(#[doc = $help:literal])+
            $field_vis:vis $field:ident: $Kind:ident(
                $name:literal
                $(, [$($label:ident $(in $values:expr)?),+ $(,)?])?
                $(, buckets = $buckets:expr)?
                $(,)?
            )
        ),+ $(,)?}
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $vis struct $Name {$(
            $(#[doc = $help])+
            $field_vis $field: $crate::metrics::$Kind,
        )+}

        impl $Name {
            /// The declarations of all metrics of this struct, in the order of its fields.
            $vis const SPECS: &'static [$crate::metrics::Spec] = &[$(
                $crate::metrics::Spec {
                    name: concat!("carteiro_", $name),
                    kind: stringify!($Kind),
                    help: concat!($($help),+),
                    labels: &[$($($crate::metrics::Label {
                        name: stringify!($label),
                        values: $crate::__list_or_empty!($($values)?),
                    }),+)?],
                    buckets: $crate::__list_or_empty!($($buckets)?),
                },
            )+];

            /// Makes the metrics, or shares the ones with the same name and shape that another role has registered.
            $vis fn register(
                registry: &$crate::metrics::Registry,
            ) -> ::std::result::Result<Self, $crate::metrics::InvalidMetric> {
                let [$($field),+] = Self::SPECS else { unreachable!("SPECS has one entry for each field") };
                Ok(Self { $($field: registry.get_or_make($field)?),+ })
            }
        }
    };
}

/// Expands to a reference to the list, or to an empty list without an argument.
#[doc(hidden)]
#[macro_export]
macro_rules! __list_or_empty {
    () => {
        &[]
    };
    ($list:expr) => {
        &$list
    };
}

/// Makes a label's values at compile time from a list and the function that names its items:
/// `label_values!(Lane::ALL, Lane::name)`.
#[macro_export]
macro_rules! label_values {
    ($all:expr, $name:path) => {{
        const NAMES: [&str; $all.len()] = {
            let mut names = [""; $all.len()];
            let mut i = 0;
            while i < names.len() {
                names[i] = $name($all[i]);
                i += 1;
            }
            names
        };
        &NAMES
    }};
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    /// All values of the label. Empty for a label with a single value that is known only at run time, such as a version.
    pub values: &'static [&'static str],
}

/// The declaration of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Name with the prefix `carteiro_`.
    pub name: &'static str,
    /// Name of the metric's Rust type, such as `IntCounterVec`.
    pub kind: &'static str,
    /// Doc comment of the field with its leading space; [`Spec::help`] is trimmed.
    pub help: &'static str,
    pub labels: &'static [Label],
    /// Upper bounds of a histogram's buckets. Empty for the library's default buckets.
    pub buckets: &'static [f64],
}

impl Spec {
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    /// Largest number of series of this metric.
    pub fn series(&self) -> usize {
        let combinations: usize = self.labels.iter().map(|label| label.values.len().max(1)).product();
        combinations * self.series_per_combination()
    }

    /// A histogram has one series for each bucket, and three more: the bucket `+Inf`, the sum and the count.
    fn series_per_combination(&self) -> usize {
        match (self.kind.starts_with("Histogram"), self.buckets.len()) {
            (false, _) => 1,
            (true, 0) => prometheus::DEFAULT_BUCKETS.len() + 3,
            (true, buckets) => buckets + 3,
        }
    }

    /// True when the values are times in unix seconds. The series of such a metric do not exist before their first value.
    pub fn is_timestamp(&self) -> bool {
        self.name.ends_with("_timestamp_seconds")
    }

    fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }

    /// The combinations of label values whose series exist from the start. There are none for a timestamp, or if the
    /// values of a label are known only at run time.
    fn initial_combinations(&self) -> Vec<Vec<&'static str>> {
        if self.is_timestamp() {
            return Vec::new();
        }
        let mut combinations = vec![Vec::new()];
        for label in self.labels {
            let extended_by = |value| combinations.iter().map(move |values| [values.as_slice(), &[value]].concat());
            combinations = label.values.iter().copied().flat_map(extended_by).collect();
        }
        combinations
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help())
    }

    fn histogram_opts(&self) -> HistogramOpts {
        let opts = HistogramOpts::from(self.opts());
        if self.buckets.is_empty() { opts } else { opts.buckets(self.buckets.to_vec()) }
    }
}

/// A type of metric that [`metrics!`](crate::metrics!) can declare.
pub trait Metric: Collector + Clone + 'static {
    /// Makes a metric with its initial series. Fails when the name, a label or a bucket is not allowed.
    fn make(spec: &Spec) -> Result<Self>;
}

macro_rules! impl_metric_without_labels {
    ($($Kind:ident from $opts:ident),+) => {$(
        impl Metric for $Kind {
            fn make(spec: &Spec) -> Result<Self> {
                if !spec.labels.is_empty() {
                    return Err(prometheus::Error::InconsistentCardinality { expect: 0, got: spec.labels.len() });
                }
                $Kind::with_opts(spec.$opts())
            }
        }
    )+};
}

macro_rules! impl_metric_with_labels {
    ($($Kind:ident from $opts:ident),+) => {$(
        impl Metric for $Kind {
            fn make(spec: &Spec) -> Result<Self> {
                let metric = $Kind::new(spec.$opts(), &spec.label_names())?;
                for values in spec.initial_combinations() {
                    metric.get_metric_with_label_values(&values)?;
                }
                Ok(metric)
            }
        }
    )+};
}

impl_metric_without_labels!(IntCounter from opts, IntGauge from opts, Gauge from opts, Histogram from histogram_opts);
impl_metric_with_labels!(IntCounterVec from opts, IntGaugeVec from opts, GaugeVec from opts, HistogramVec from histogram_opts);
