//! What a router counts. No tenant, endpoint or url is a label.

use schemas::{DeadReason, ParkReason};

const SCOPES: [&str; 2] = ["intake", "router"];
const PARK_REASONS: &[&str] = service::label_values!(ParkReason::ALL, ParkReason::as_str);
const DEAD_REASONS: &[&str] = service::label_values!(DeadReason::ALL, DeadReason::as_str);

service::metrics! {
    /// What a router counts.
    pub struct RouterMetrics {
        /// Events routed to at least one endpoint.
        pub routed: IntCounter("events_routed_total"),
        /// Events that no subscription wanted.
        pub unmatched: IntCounter("events_unmatched_total"),
        /// Endpoints that wanted an event which their format does not have, or which lacks what the format needs.
        pub unrendered: IntCounter("events_unrendered_total"),
        /// Events not processed again, since this process had done so under their id, by scope: intake or router.
        pub deduplicated: IntCounterVec("events_deduplicated_total", [scope in SCOPES]),
        /// Messages parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason in PARK_REASONS]),
        /// Dead letters made, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason in DEAD_REASONS]),
        /// Dead letters of which a tenant's quota let nothing be kept.
        pub dead_letters_reduced: IntCounterVec("dead_letters_reduced_total", [kept in ["record", "nothing"]]),
        /// Messages that were handed out before.
        pub redeliveries: IntCounter("redeliveries_total"),
        /// Deliveries made of one event.
        pub fan_out: Histogram("route_fanout", buckets = [0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 200.0, 1000.0]),
        /// From acceptance until all deliveries of an event are confirmed.
        pub routing: Histogram("routing_seconds",
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0]),
    }
}
