//! The metrics of a deliverer. No tenant, endpoint or URL is a label.

use schemas::{DeadReason, OutcomeClass, ParkReason};
use service::metrics::{Histogram, IntCounter};

use crate::{consume::Path, defer::DeferralReason, outcome::Outcome};

/// A lane, or `direct` for what the router of the same process handed over.
const PATHS: &[&str] = service::label_values!(Path::ALL, Path::name);
const OUTCOMES: &[&str] = service::label_values!(OutcomeClass::ALL, OutcomeClass::as_str);
const DEAD_REASONS: &[&str] = service::label_values!(DeadReason::ALL, DeadReason::as_str);
const PARKED_REASONS: &[&str] = service::label_values!(ParkReason::ALL, ParkReason::as_str);
const DEFERRALS: &[&str] = service::label_values!(DeferralReason::ALL, DeferralReason::as_str);
/// What a delivery waited for before its attempt.
const KINDS: [&str; 3] = [FIRST, RETRY, DEFERRED];
const FIRST: &str = "first";
const RETRY: &str = "retry";
const DEFERRED: &str = "deferred";
const STATES: [&str; 6] = ["closed", "open", "half_open", "degraded", "disabled", "paused"];
const DELIVERY_EVENTS: [&str; 2] = ["delivery.delivered", "delivery.dead"];
const STAGES: [&str; 2] = ["fast", "slow"];

/// Seconds, from a fast receiver nearby to one that is tried again for days.
const AGES: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0,
    86_400.0, 259_200.0,
];
/// Seconds. The service level objectives are about 10 s and 30 s.
const LATENESS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0];
/// Seconds, up to beyond an endpoint's default timeout of 15 s.
const DURATIONS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

service::metrics! {
    /// What a deliverer counts.
    pub struct DelivererMetrics {
        /// Attempts, by outcome class and lane.
        pub attempts: IntCounterVec("attempts_total", [outcome in OUTCOMES, lane in PATHS]),
        /// Dead letters made, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason in DEAD_REASONS]),
        /// Dead letters that were not kept whole because of the tenant's quota: only the record was kept, or nothing.
        pub dead_letters_reduced: IntCounterVec("dead_letters_reduced_total", [kept in ["record", "nothing"]]),
        /// Messages parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason in PARKED_REASONS]),
        /// Deliveries deferred without an attempt, by reason.
        pub deferrals: IntCounterVec("deferrals_total", [reason in DEFERRALS]),
        /// Deliveries that were not posted again, because this process has seen them succeed.
        pub deduplicated: IntCounter("deliveries_deduplicated_total"),
        /// Messages that the broker handed out again.
        pub redeliveries: IntCounter("redeliveries_total"),
        /// Retries that this process had already attempted under the same number within the last minutes, although the
        /// broker did not hand them out again: the delivery is retried twice. Attempts of other processes are not seen.
        pub retry_forks: IntCounter("retry_forks_suspected_total"),
        /// How long attempts took, by lane and outcome class.
        pub attempt_duration: HistogramVec("attempt_duration_seconds", [lane in PATHS, outcome in OUTCOMES],
            buckets = DURATIONS),
        /// From acceptance to the start of the first attempt, by the lane of that attempt.
        pub delivery_latency: HistogramVec("delivery_latency_seconds", [lane in PATHS], buckets = AGES),
        /// From acceptance to the 2xx, by the lane of the attempt that got it.
        pub delivery_success: HistogramVec("delivery_success_seconds", [lane in PATHS], buckets = AGES),
        /// How late attempts start. `first`: first attempts that were never deferred, and whose event was not put aside,
        /// after acceptance. `retry` and `deferred`: after the time for which they were due.
        pub lateness: HistogramVec("lateness_seconds", [kind in KINDS], buckets = LATENESS),
        /// Slots in use. Fast slots are for the first second of requests, slow slots for what takes longer and for retries;
        /// what is expected to end within a second takes either.
        pub slots_in_use: IntGaugeVec("slots_in_use", [stage in STAGES]),
        /// Slots that there are, by stage.
        pub slots_limit: IntGaugeVec("slots_limit", [stage in STAGES]),
        /// Requests that were timed out early, because others waited for slow slots.
        pub timeouts_shortened: IntCounter("timeouts_shortened_total"),
        /// First attempts that were moved to the slow lane.
        pub moved_to_slow: IntCounter("moved_to_slow_total"),
        /// Circuit breakers that opened or closed in this process.
        pub breaker_changes: IntCounterVec("breaker_changes_total", [to in ["open", "closed"]]),
        /// Endpoints by state, counted every ten seconds: those that this process has posted to lately, by the state of
        /// their circuit breaker (that of a degraded endpoint is closed), and all that are disabled or paused in its
        /// snapshot, which every deliverer counts.
        pub endpoints: IntGaugeVec("endpoints", [state in STATES]),
        /// Deliverers that share the work, with this one.
        pub deliverers: IntGauge("deliverers"),
        /// Events about how deliveries ended that tenants were told, by type.
        pub delivery_events: IntCounterVec("delivery_events_total", [event_type in DELIVERY_EVENTS]),
        /// Events about how deliveries ended that were dropped, because the broker did not take them in time.
        pub delivery_events_dropped: IntCounterVec("delivery_events_dropped_total", [event_type in DELIVERY_EVENTS]),
        /// Bytes of the bodies in hand, of both lanes.
        pub in_flight_bytes: IntGauge("inflight_bytes"),
    }
}

/// The metrics of the attempts of one path, whose labels are resolved once, because resolving costs a hash and a lock.
pub(crate) struct PathMetrics {
    attempts: [IntCounter; OutcomeClass::ALL.len()],
    durations: [Histogram; OutcomeClass::ALL.len()],
    pub(crate) latency: Histogram,
    pub(crate) success: Histogram,
    pub(crate) late_first: Histogram,
    pub(crate) late_retry: Histogram,
    pub(crate) late_deferred: Histogram,
}

impl PathMetrics {
    pub(crate) fn of(metrics: &DelivererMetrics, path: Path) -> Self {
        let name = path.name();
        let attempts = |class: OutcomeClass| metrics.attempts.with_label_values(&[class.as_str(), name]);
        let durations = |class: OutcomeClass| metrics.attempt_duration.with_label_values(&[name, class.as_str()]);
        Self {
            attempts: OutcomeClass::ALL.map(attempts),
            durations: OutcomeClass::ALL.map(durations),
            latency: metrics.delivery_latency.with_label_values(&[name]),
            success: metrics.delivery_success.with_label_values(&[name]),
            late_first: metrics.lateness.with_label_values(&[FIRST]),
            late_retry: metrics.lateness.with_label_values(&[RETRY]),
            late_deferred: metrics.lateness.with_label_values(&[DEFERRED]),
        }
    }

    pub(crate) fn attempted(&self, outcome: &Outcome) {
        self.attempts[outcome.class as usize].inc();
        self.durations[outcome.class as usize].observe(outcome.duration_ms as f64 / 1_000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_and_timed_under_its_name() {
        let metrics = DelivererMetrics::register(&Default::default()).unwrap();
        let lane = PathMetrics::of(&metrics, Path::Lane(broker::Lane::Slow));
        for class in OutcomeClass::ALL {
            let excerpt = String::new();
            lane.attempted(&Outcome { class, status: None, retry_after: None, excerpt, duration_ms: 1_500 });
            assert_eq!(metrics.attempts.with_label_values(&[class.as_str(), "slow"]).get(), 1, "{class}");
            let timed = metrics.attempt_duration.with_label_values(&["slow", class.as_str()]);
            assert_eq!((timed.get_sample_count(), timed.get_sample_sum()), (1, 1.5), "{class}");
        }
    }
}
