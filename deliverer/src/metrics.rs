//! What a deliverer counts. No tenant, endpoint or url is a label.

mod lane;

use broker::Lane;
use schemas::{DeadReason, OutcomeClass, ParkReason};

use crate::limits::DeferReason;

pub(crate) use lane::LaneMetrics;

const LANES: &[&str] = service::label_values!(Lane::ALL, Lane::name);
const OUTCOMES: &[&str] = service::label_values!(OutcomeClass::ALL, OutcomeClass::as_str);
const DEAD_REASONS: &[&str] = service::label_values!(DeadReason::ALL, DeadReason::as_str);
const PARKED_REASONS: &[&str] = service::label_values!(ParkReason::ALL, ParkReason::as_str);
/// Why a delivery was put aside: the endpoint's own limits, and what this process does not know yet.
const DEFERRALS: [&str; 5] = [
    DeferReason::Breaker.as_str(),
    DeferReason::Cap.as_str(),
    DeferReason::Rate.as_str(),
    ENDPOINT_UNKNOWN,
    SNAPSHOT_BEHIND,
];
/// What a delivery was to wait for before its attempt.
const KINDS: [&str; 3] = [FIRST, RETRY, DEFERRED];
const STATES: [&str; 5] = ["closed", "open", "half_open", "degraded", "disabled"];
const STAGES: [&str; 2] = ["fast", "slow"];

/// No snapshot has its endpoint, so far.
pub(crate) const ENDPOINT_UNKNOWN: &str = "endpoint_unknown";
/// This process' snapshot is older than the delivery.
pub(crate) const SNAPSHOT_BEHIND: &str = "snapshot_behind";
pub(crate) const FIRST: &str = "first";
pub(crate) const RETRY: &str = "retry";
pub(crate) const DEFERRED: &str = "deferred";

/// From a fast receiver next door to one that is tried again for days.
const AGES: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0,
    86_400.0, 259_200.0,
];
/// 10 s and 30 s are what the objectives speak of.
const LATENESS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0];
/// Up to beyond the default time limit, 15 s.
const DURATIONS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

service::metrics! {
    /// What a deliverer counts.
    pub struct DelivererMetrics {
        /// Attempts, by outcome class and lane.
        pub attempts: IntCounterVec("attempts_total", [outcome in OUTCOMES, lane in LANES]),
        /// Dead letters made, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason in DEAD_REASONS]),
        /// Dead letters of which a tenant's quota let only the record be kept, or nothing.
        pub dead_letters_reduced: IntCounterVec("dead_letters_reduced_total", [kept in ["record", "nothing"]]),
        /// Messages parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason in PARKED_REASONS]),
        /// Deliveries put aside without an attempt, by reason.
        pub deferrals: IntCounterVec("deferrals_total", [reason in DEFERRALS]),
        /// Deliveries not posted again, since this process has seen them succeed.
        pub deduplicated: IntCounter("deliveries_deduplicated_total"),
        /// Messages that were handed out before.
        pub redeliveries: IntCounter("redeliveries_total"),
        /// Retries that this process had attempted under the same number within the last minutes, though the broker did
        /// not hand them out again: two chains of one delivery. What another process attempted is not seen.
        pub retry_forks: IntCounter("retry_forks_suspected_total"),
        /// How long attempts took, by lane and outcome class.
        pub attempt_duration: HistogramVec("attempt_duration_seconds", [lane in LANES, outcome in OUTCOMES],
            buckets = DURATIONS),
        /// From acceptance to the start of the first attempt, by the lane of that.
        pub delivery_latency: HistogramVec("delivery_latency_seconds", [lane in LANES], buckets = AGES),
        /// From acceptance to the 2xx, by the lane of the attempt that got it.
        pub delivery_success: HistogramVec("delivery_success_seconds", [lane in LANES], buckets = AGES),
        /// How late attempts start: first attempts after acceptance, unless they were put aside; retries, and what was put
        /// aside, after the time for which they were due.
        pub lateness: HistogramVec("lateness_seconds", [kind in KINDS], buckets = LATENESS),
        /// Slots in use: fast ones for the first second of first attempts, slow ones for all else.
        pub slots_in_use: IntGaugeVec("slots_in_use", [stage in STAGES]),
        /// Slots that there are, by stage.
        pub slots_limit: IntGaugeVec("slots_limit", [stage in STAGES]),
        /// Requests that were cut short, since too many slow slots were taken.
        pub timeouts_shortened: IntCounter("timeouts_shortened_total"),
        /// First attempts that were moved to the slow lane.
        pub moved_to_slow: IntCounter("moved_to_slow_total"),
        /// Breakers that opened or closed in this process, by what they did.
        pub breaker_changes: IntCounterVec("breaker_changes_total", [to in ["open", "closed"]]),
        /// Endpoints by state, counted every ten seconds: those this process has lately posted to, by their breaker (a
        /// suspect's is closed), and all that are disabled in its snapshot, which every deliverer counts.
        pub endpoints: IntGaugeVec("endpoints", [state in STATES]),
        /// Deliverers that share the work, this one included.
        pub deliverers: IntGauge("deliverers"),
        /// Bytes of bodies under way.
        pub in_flight_bytes: IntGauge("inflight_bytes"),
    }
}
