//! The router's metrics. Tenants, endpoints and URLs are never labels.

use schemas::{DeadReason, ParkReason};

const SCOPES: [&str; 2] = ["intake", "router"];
const PARK_REASONS: &[&str] = service::label_values!(ParkReason::ALL, ParkReason::as_str);
const DEAD_REASONS: &[&str] = service::label_values!(DeadReason::ALL, DeadReason::as_str);

service::metrics! {
    /// The router's metrics.
    pub struct RouterMetrics {
        /// Events that made at least one delivery.
        pub routed: IntCounter("events_routed_total"),
        /// Events with many deliveries that were put aside, because their tenant had many under way.
        pub put_aside: IntCounter("events_put_aside_total"),
        /// Events that no subscription matched.
        pub unmatched: IntCounter("events_unmatched_total"),
        /// Endpoints that match an event which their format does not have, or which lacks what the format needs.
        pub unrendered: IntCounter("events_unrendered_total"),
        /// Events that were not processed again because this process had processed the same event before, by scope: intake or router.
        pub deduplicated: IntCounterVec("events_deduplicated_total", [scope in SCOPES]),
        /// Messages that were parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason in PARK_REASONS]),
        /// Messages that were not parked whole because their tenant has its share of the log, by what was kept.
        pub parked_reduced: IntCounterVec("parked_reduced_total", [kept in ["excerpt", "nothing"]]),
        /// Dead letters, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason in DEAD_REASONS]),
        /// Dead letters that a tenant's quota reduced, by what was kept.
        pub dead_letters_reduced: IntCounterVec("dead_letters_reduced_total", [kept in ["record", "nothing"]]),
        /// Messages that the broker handed out again.
        pub redeliveries: IntCounter("redeliveries_total"),
        /// Deliveries of one event.
        pub fan_out: Histogram("route_fanout", buckets = [0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 200.0, 1000.0]),
        /// Seconds from the acceptance of an event until all its deliveries are confirmed.
        pub routing: Histogram("routing_seconds",
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0]),
    }
}
