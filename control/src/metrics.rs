//! Metrics of control. No tenant, endpoint or URL is a label.

use schemas::{DeadReason, ParkReason};

const DEAD_REASONS: &[&str] = service::label_values!(DeadReason::ALL, DeadReason::as_str);
const PARK_REASONS: &[&str] = service::label_values!(ParkReason::ALL, ParkReason::as_str);
const RETURNING_REASONS: [&str; 2] = [ParkReason::DeliveryLimit.as_str(), ParkReason::Unroutable.as_str()];
const EVENT_TYPES: [&str; 5] =
    ["endpoint.disabled", "endpoint.failing", "endpoint.recovered", "quota.reached", "event.loop"];
const DROPPED_TYPES: [&str; 2] = ["endpoint.failing", "endpoint.recovered"];

service::metrics! {
    /// Metrics of control.
    pub struct ControlMetrics {
        /// Dead letters that were published again, by the reason for which they had ended.
        pub replays: IntCounterVec("replays_total", [reason in DEAD_REASONS]),
        /// Dead letters that could not be published again because their bodies were not kept.
        pub not_replayable: IntCounter("not_replayable_total"),
        /// Findings of other processes that were kept.
        pub findings_kept: IntCounter("findings_kept_total"),
        /// Findings that could not be kept; they come again.
        pub findings_not_kept: IntCounter("findings_not_kept_total"),
        /// Endpoints disabled because their receivers answered 410.
        pub endpoints_disabled: IntCounter("endpoints_disabled_total"),
        /// Events about carteiro itself that tenants were told, by type.
        pub operational_events: IntCounterVec("operational_events_total", [event_type in EVENT_TYPES]),
        /// Events about endpoints that were dropped, because the broker did not take them within half a minute.
        pub operational_events_dropped: IntCounterVec("operational_events_dropped_total", [event_type in DROPPED_TYPES]),
        /// Tenants of whose dead letters not everything is kept.
        pub dead_letter_quotas_reached: IntGauge("dead_letter_quotas_reached"),
        /// Records that came into the log of what is parked since this process began to watch it, by reason; what the
        /// broker itself has parked is among them. Every control counts all of them: take the largest, not the sum.
        pub park_log: IntCounterVec("park_log_total", [reason in PARK_REASONS]),
        /// Parked deliveries that were published again by themselves, by the reason for which the broker had parked them.
        pub parked_requeued: IntCounterVec("parked_requeued_total", [reason in RETURNING_REASONS]),
        /// Replays that run.
        pub replays_running: IntGauge("replays_running"),
    }
}
