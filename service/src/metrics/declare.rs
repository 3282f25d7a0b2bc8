//! Declaring metrics: the macro, the declarations that it makes, and how each kind of metric is made of one.
//!
//! A label is declared with all its values, so that every series exists with a 0 before anything happens: `rate()` and alerts
//! then see the first increment, dashboards have no gaps, and the number of series is known in advance. Only times
//! (`*_timestamp_seconds`) appear with their first value, because 0 would be a time.

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
    ($(#[$about:meta])* $vis:vis struct $Name:ident {$(
        $(#[doc = $help:literal])+
        $fvis:vis $field:ident: $Kind:ident($name:literal $(, [$($label:ident $(in $values:expr)?),+ $(,)?])? $(, buckets = $buckets:expr)? $(,)?)
    ),+ $(,)?}) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        $vis struct $Name {$(
            $(#[doc = $help])+
            $fvis $field: $crate::metrics::$Kind,
        )+}

        impl $Name {
            /// Every metric of this struct, for documentation and its tests.
            $vis const SPECS: &'static [$crate::metrics::Spec] = &[$(
                $crate::metrics::Spec {
                    name: concat!("carteiro_", $name),
                    kind: stringify!($Kind),
                    help: concat!($($help),+),
                    labels: &[$($($crate::metrics::Label {
                        name: stringify!($label),
                        values: $crate::__or_none!($($values)?),
                    }),+)?],
                    buckets: $crate::__or_none!($($buckets)?),
                },
            )+];

            /// Makes the metrics, or shares those of the same name and shape that another role in this process made.
            $vis fn register(
                registry: &$crate::metrics::Registry,
            ) -> ::std::result::Result<Self, $crate::metrics::InvalidMetric> {
                let [$($field),+] = Self::SPECS else { unreachable!("SPECS has one entry for each field") };
                Ok(Self { $($field: registry.get_or_make($field)?),+ })
            }
        }
    };
}

/// The given list, or an empty one.
#[doc(hidden)]
#[macro_export]
macro_rules! __or_none {
    () => {
        &[]
    };
    ($list:expr) => {
        &$list
    };
}

/// The names of everything in a closed list, as the values of a label: `label_values!(Lane::ALL, Lane::name)`.
#[macro_export]
macro_rules! label_values {
    ($all:expr, $name:path) => {{
        const NAMES: [&str; $all.len()] = {
            let (mut names, mut at) = ([""; $all.len()], 0);
            while at < names.len() {
                names[at] = $name($all[at]);
                at += 1;
            }
            names
        };
        &NAMES
    }};
}

/// A label and its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    /// All values of the label. Empty: it has one value, which only the running process knows, as the version of a build.
    pub values: &'static [&'static str],
}

/// The declaration of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    pub name: &'static str,
    pub kind: &'static str,
    /// Doc comment as written; see [`Spec::help`].
    pub help: &'static str,
    pub labels: &'static [Label],
    /// Upper bounds of a histogram's buckets; empty: those of the library.
    pub buckets: &'static [f64],
}

impl Spec {
    /// The help text on one line.
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    /// Largest number of series. A histogram has one for each bucket, one for the rest, the sum and the count.
    pub fn series(&self) -> usize {
        let each = match (self.kind.starts_with("Histogram"), self.buckets.len()) {
            (false, _) => 1,
            (true, 0) => prometheus::DEFAULT_BUCKETS.len() + 3,
            (true, buckets) => buckets + 3,
        };
        self.labels.iter().map(|label| label.values.len().max(1)).product::<usize>() * each
    }

    /// True when the values are times: such a series appears with its first value.
    pub fn is_of_times(&self) -> bool {
        self.name.ends_with("_timestamp_seconds")
    }

    fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }

    /// The combinations of label values that exist from the start; none if the values of a label are not known in advance.
    fn combinations(&self) -> Vec<Vec<&'static str>> {
        if self.is_of_times() {
            return Vec::new();
        }
        self.labels.iter().fold(vec![Vec::new()], |before, label| {
            let with = |value| before.iter().map(move |values| [values.as_slice(), &[value]].concat());
            label.values.iter().copied().flat_map(with).collect()
        })
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help())
    }

    fn histogram_opts(&self) -> HistogramOpts {
        let opts = HistogramOpts::from(self.opts());
        if self.buckets.is_empty() { opts } else { opts.buckets(self.buckets.to_vec()) }
    }
}

/// A kind of metric that [`metrics!`](crate::metrics!) can declare.
pub trait Metric: Collector + Clone + 'static {
    /// Makes a metric with a series for every combination of label values, unless its values are times.
    ///
    /// # Errors
    /// When the name, a label or a bucket is not allowed.
    fn make(spec: &Spec) -> Result<Self>;
}

/// Implements [`Metric`] for kinds without labels.
macro_rules! single {
    ($($Kind:ident: $opts:ident),+) => {$(
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

macro_rules! labelled {
    ($($Kind:ident: $opts:ident),+) => {$(
        impl Metric for $Kind {
            fn make(spec: &Spec) -> Result<Self> {
                let made = $Kind::new(spec.$opts(), &spec.label_names())?;
                for values in spec.combinations() {
                    made.get_metric_with_label_values(&values)?;
                }
                Ok(made)
            }
        }
    )+};
}

single!(IntCounter: opts, IntGauge: opts, Gauge: opts, Histogram: histogram_opts);
labelled!(IntCounterVec: opts, IntGaugeVec: opts, GaugeVec: opts, HistogramVec: histogram_opts);
