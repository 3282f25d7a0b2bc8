//! What a producer counts. No tenant, endpoint or url is a label.

service::metrics! {
    /// What a producer counts.
    pub struct ProducerMetrics {
        /// Events taken in and confirmed, by source: canonical or the vendor's dialect.
        pub received: IntCounterVec("events_received_total", [source]),
        /// Events not processed again, since this process had done so under their id, by scope: intake or router.
        pub deduplicated: IntCounterVec("events_deduplicated_total", [scope]),
        /// Requests refused, by the problem's code.
        pub refused: IntCounterVec("events_refused_total", [code]),
        /// From a publish to its confirm, by target.
        pub publish_confirm: HistogramVec("publish_confirm_seconds", [target],
            buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0]),
        /// Requests being taken in.
        pub requests_in_flight: IntGauge("intake_requests_in_flight"),
    }
}
