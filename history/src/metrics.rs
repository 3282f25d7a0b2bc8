//! The metrics of what records history.

service::metrics! {
    /// Metrics of recording.
    pub struct RecorderMetrics {
        /// Records of events and attempts, by what became of them: recorded (handed over to the writer), or dropped because
        /// they came faster than they were taken.
        pub records: IntCounterVec("history_records_total", [result in ["recorded", "dropped"]]),
    }
}
