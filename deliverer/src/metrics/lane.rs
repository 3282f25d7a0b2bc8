//! What is counted of one lane, with its labels resolved: each attempt counts several times, and looking a label up costs
//! a hash and a lock.

use broker::Lane;
use schemas::OutcomeClass;
use service::metrics::{Histogram, IntCounter};

use super::{DEFERRED, DelivererMetrics, FIRST, RETRY};

/// What is counted of one lane.
pub(crate) struct LaneMetrics {
    /// Which.
    pub(crate) lane: Lane,
    attempts: [IntCounter; OutcomeClass::ALL.len()],
    durations: [Histogram; OutcomeClass::ALL.len()],
    /// Until the first attempt.
    pub(crate) latency: Histogram,
    /// Until the 2xx.
    pub(crate) success: Histogram,
    /// Of first attempts that were never put aside.
    pub(crate) late_first: Histogram,
    /// Of retries.
    pub(crate) late_retry: Histogram,
    /// Of what was put aside.
    pub(crate) late_deferred: Histogram,
}

impl LaneMetrics {
    pub(crate) fn of(metrics: &DelivererMetrics, lane: Lane) -> Self {
        let name = lane.name();
        let by_outcome = |class: OutcomeClass| metrics.attempts.with_label_values(&[class.as_str(), name]);
        let durations = |class: OutcomeClass| metrics.attempt_duration.with_label_values(&[name, class.as_str()]);
        Self {
            lane,
            attempts: OutcomeClass::ALL.map(by_outcome),
            durations: OutcomeClass::ALL.map(durations),
            latency: metrics.delivery_latency.with_label_values(&[name]),
            success: metrics.delivery_success.with_label_values(&[name]),
            late_first: metrics.lateness.with_label_values(&[FIRST]),
            late_retry: metrics.lateness.with_label_values(&[RETRY]),
            late_deferred: metrics.lateness.with_label_values(&[DEFERRED]),
        }
    }

    /// Counts an attempt of this outcome that took so many seconds.
    pub(crate) fn attempted(&self, class: OutcomeClass, seconds: f64) {
        self.attempts[class as usize].inc();
        self.durations[class as usize].observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_and_timed_under_its_name() {
        let metrics = DelivererMetrics::register(&Default::default()).unwrap();
        let lane = LaneMetrics::of(&metrics, Lane::Slow);
        for class in OutcomeClass::ALL {
            lane.attempted(class, 0.1);
            assert_eq!(metrics.attempts.with_label_values(&[class.as_str(), "slow"]).get(), 1, "{class}");
            let timed = metrics.attempt_duration.with_label_values(&["slow", class.as_str()]);
            assert_eq!(timed.get_sample_count(), 1, "{class}");
        }
    }
}
