//! Canary deliveries: synthetic ones, sent through each lane and each short delay now and then and recognised before
//! anything is decoded, so that a way that is stuck shows also when nobody sends anything.

service::metrics! {
    /// What a deliverer counts of canary deliveries.
    pub struct CanaryMetrics {
        /// Canary deliveries sent and confirmed, by level: `fast` or `slow` straight into that lane, else the delay they take into the slow lane.
        pub sent: IntCounterVec("canary_sent_total", [level]),
        /// How long after their due time canary deliveries came, by level, whoever sent them.
        pub seconds: HistogramVec("canary_seconds", [level],
            buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
        /// When the latest canary delivery came here, by level, in unix seconds; before the first, when this process began to send some.
        pub arrived: GaugeVec("canary_arrived_timestamp_seconds", [level]),
        /// Canary deliveries that could not be read, and were dropped.
        pub unreadable: IntCounter("canary_unreadable_total"),
    }
}
