//! Metrics: a role declares one struct with [`metrics!`](crate::metrics!), the doc comments are the help texts.
//!
//! Names begin with `carteiro_`. No tenant, endpoint or URL is ever a label value, because their number is not bounded. The
//! values of a label are declared with it.

mod declare;
mod registry;
#[cfg(test)]
mod tests;

pub use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub use declare::{Label, Metric, Spec};
pub use registry::{InvalidMetric, Registry};
