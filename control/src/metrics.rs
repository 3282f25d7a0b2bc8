//! What control counts. No tenant, endpoint or url is a label.

service::metrics! {
    /// What control counts.
    pub struct ControlMetrics {
        /// Dead letters that were published again.
        pub replayed: IntCounter("replayed_total"),
        /// Replays that run.
        pub replays_running: IntGauge("replays_running"),
    }
}
