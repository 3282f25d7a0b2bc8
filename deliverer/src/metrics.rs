//! What a deliverer counts. No tenant, endpoint or url is a label.

service::metrics! {
    /// What a deliverer counts.
    pub struct DelivererMetrics {
        /// Attempts, by outcome class and lane.
        pub attempts: IntCounterVec("attempts_total", [outcome, lane]),
        /// Dead letters made, by reason.
        pub dead_letters: IntCounterVec("dead_letters_total", [reason]),
        /// Messages parked, by reason.
        pub parked: IntCounterVec("parked_total", [reason]),
        /// Deliveries put aside without an attempt, by reason.
        pub parks: IntCounterVec("parks_total", [reason]),
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
        /// Requests under way, by lane.
        pub slots_in_use: IntGaugeVec("slots_in_use", [lane]),
    }
}
