//! All metrics of the process, and their text format.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::TextEncoder;

use super::declare::{Metric, Spec};

crate::metrics! {
    /// The running build.
    struct BuildInfo {
        /// Always 1; the labels say which build this is.
        build_info: IntGaugeVec("build_info", [version, revision]),
    }
}

/// A mistake in a declaration. A test of the role that declares it finds it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMetric {
    /// Two declarations of one name differ in kind, labels or buckets.
    #[error("{0} is declared twice, differently")]
    Differs(&'static str),
    /// The library refuses the name, a label or the buckets, or cannot write the metrics.
    #[error(transparent)]
    Refused(#[from] prometheus::Error),
}

/// The declaration of a metric, and the metric itself, of any kind.
type Registered = (Spec, Box<dyn Any + Send>);

/// The metrics of one process.
///
/// Roles in one process share metrics of the same name and shape, as they share the name in a query over several processes.
/// The registry of the library cannot return what it holds, so this one keeps the metrics as well.
#[derive(Default)]
pub struct Registry {
    inner: prometheus::Registry,
    made: Mutex<HashMap<&'static str, Registered>>,
}

impl Registry {
    /// Metrics of every process, besides those of the library.
    pub const SPECS: &'static [Spec] = BuildInfo::SPECS;

    /// A registry with the metrics of every process: `carteiro_build_info`, and on Linux memory, CPU time and files.
    pub fn for_process(version: &str, revision: &str) -> Result<Self, InvalidMetric> {
        let registry = Self::default();
        let info = BuildInfo::register(&registry)?;
        info.build_info.with_label_values(&[version, revision]).set(1);
        #[cfg(target_os = "linux")]
        registry.inner.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(registry)
    }

    /// The metric that `spec` declares, made at the first call.
    pub fn get_or_make<M: Metric>(&self, spec: &Spec) -> Result<M, InvalidMetric> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((existing, metric)) = made.get(spec.name) {
            let same = (existing.labels, existing.buckets) == (spec.labels, spec.buckets);
            let metric = metric.downcast_ref::<M>().filter(|_| same);
            return metric.cloned().ok_or(InvalidMetric::Differs(spec.name));
        }
        let metric = M::make(spec)?;
        self.inner.register(Box::new(metric.clone()))?;
        made.insert(spec.name, (*spec, Box::new(metric.clone())));
        Ok(metric)
    }

    /// All metrics in the Prometheus text format.
    pub fn encode(&self) -> Result<String, InvalidMetric> {
        Ok(TextEncoder::new().encode_to_string(&self.inner.gather())?)
    }
}
