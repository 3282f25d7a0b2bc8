//! The metrics of a process, and their text format.

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

/// An invalid declaration. A test of the declaring role finds it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMetric {
    #[error("{0} is declared twice, differently")]
    Differs(&'static str),
    /// The library refused a name, a label or buckets, or failed to encode the metrics.
    #[error(transparent)]
    Refused(#[from] prometheus::Error),
}

type Registered = (Spec, Box<dyn Any + Send>);

/// All metrics of one process.
///
/// Roles in one process share metrics of the same name and shape. The library's registry cannot return its metrics, so
/// this one keeps them as well.
#[derive(Default)]
pub struct Registry {
    inner: prometheus::Registry,
    made: Mutex<HashMap<&'static str, Registered>>,
}

impl Registry {
    pub const SPECS: &'static [Spec] = BuildInfo::SPECS;

    /// Includes the metrics of every process: `carteiro_build_info`, and on Linux memory, CPU time and files.
    pub fn for_process(version: &str, revision: &str) -> Result<Self, InvalidMetric> {
        let registry = Self::default();
        let info = BuildInfo::register(&registry)?;
        info.build_info.with_label_values(&[version, revision]).set(1);
        #[cfg(target_os = "linux")]
        registry.inner.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(registry)
    }

    /// The metric that `spec` declares, which the first call makes.
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

    pub fn encode(&self) -> Result<String, InvalidMetric> {
        Ok(TextEncoder::new().encode_to_string(&self.inner.gather())?)
    }
}
