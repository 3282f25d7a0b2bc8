//! What a deliverer counts. No tenant, endpoint or url is a label.

use broker::Lane;
use schemas::OutcomeClass;
use service::metrics::{Histogram, IntCounter};

service::metrics! {
    /// What a deliverer counts.
    pub struct DelivererMetrics {
        /// Attempts, by outcome class and lane.
        pub attempts: IntCounterVec("attempts_total", [outcome, lane]),
        /// Dead letters made, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason]),
        /// Dead letters of which a tenant's quota let only the record be kept, or nothing.
        pub dead_letters_reduced: IntCounterVec("dead_letters_reduced_total", [kept]),
        /// Messages parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason]),
        /// Deliveries put aside without an attempt, by reason.
        pub parks: IntCounterVec("parks_total", [reason]),
        /// Deliveries not posted again, since this process has seen them succeed.
        pub deduplicated: IntCounter("deliveries_deduplicated_total"),
        /// Messages that were handed out before.
        pub redeliveries: IntCounter("redeliveries_total"),
        /// How long attempts took, by lane.
        pub attempt_duration: HistogramVec("attempt_duration_seconds", [lane],
            buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0]),
        /// From acceptance to the start of the first attempt.
        pub delivery_latency: Histogram("delivery_latency_seconds",
            buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0]),
        /// From acceptance to the 2xx, by lane.
        pub delivery_success: HistogramVec("delivery_success_seconds", [lane],
            buckets = [0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0, 86400.0, 259200.0]),
        /// How long after their due time retries start.
        pub lateness: Histogram("lateness_seconds", buckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0]),
        /// Slots in use: fast ones for the first second of first attempts, slow ones for all else.
        pub slots_in_use: IntGaugeVec("slots_in_use", [stage]),
        /// Slots that there are, by stage.
        pub slots_limit: IntGaugeVec("slots_limit", [stage]),
        /// Requests that were cut short, since too many slow slots were taken.
        pub timeouts_shortened: IntCounter("timeouts_shortened_total"),
        /// First attempts that were moved to the slow lane.
        pub moved_to_slow: IntCounter("moved_to_slow_total"),
        /// Breakers that opened or closed in this process, by what they did.
        pub breaker_changes: IntCounterVec("breaker_changes_total", [to]),
        /// Endpoints this process has lately posted to, by state.
        pub endpoints: IntGaugeVec("endpoints", [state]),
        /// Deliverers that share the work, this one included.
        pub deliverers: IntGauge("deliverers"),
        /// Bytes of bodies under way.
        pub in_flight_bytes: IntGauge("inflight_bytes"),
    }
}

/// What is counted of one lane: each attempt counts several times, and looking a label up costs a hash and a lock.
pub(crate) struct LaneMetrics {
    attempts: [IntCounter; OutcomeClass::ALL.len()],
    pub(crate) attempt_duration: Histogram,
    pub(crate) delivery_success: Histogram,
}

impl LaneMetrics {
    pub(crate) fn of(metrics: &DelivererMetrics, lane: Lane) -> Self {
        let lane = lane.name();
        Self {
            attempts: OutcomeClass::ALL.map(|class| metrics.attempts.with_label_values(&[class.as_str(), lane])),
            attempt_duration: metrics.attempt_duration.with_label_values(&[lane]),
            delivery_success: metrics.delivery_success.with_label_values(&[lane]),
        }
    }

    /// Attempts of this outcome.
    pub(crate) fn attempts(&self, class: OutcomeClass) -> &IntCounter {
        &self.attempts[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_the_counter_that_bears_its_name() {
        let metrics = DelivererMetrics::register(&Default::default()).unwrap();
        let lane = LaneMetrics::of(&metrics, Lane::Slow);
        for class in OutcomeClass::ALL {
            lane.attempts(class).inc();
            assert_eq!(metrics.attempts.with_label_values(&[class.as_str(), "slow"]).get(), 1, "{class}");
        }
    }
}
