//! Metrics of the one who writes history.

use history::GapCause;

const CAUSES: [&str; GapCause::ALL.len()] = {
    let mut causes = [""; GapCause::ALL.len()];
    let mut at = 0;
    while at < causes.len() {
        causes[at] = GapCause::ALL[at].as_str();
        at += 1;
    }
    causes
};

service::metrics! {
    /// Metrics of writing history.
    pub struct HistoryMetrics {
        /// Records by what became of them: written, repeated (it had been written before), too_old (its day is dropped),
        /// or over_share (it was left out, or kept without its bodies).
        pub written: IntCounterVec("history_written_total", [result in ["written", "repeated", "too_old", "over_share"]]),
        /// Times without records that were noted, by cause.
        pub gaps: IntCounterVec("history_gaps_total", [cause in CAUSES]),
        /// Failed writes. Each is tried again.
        pub failed_writes: IntCounter("history_failed_writes_total"),
        /// Seconds by which what is written last is older than its write.
        pub lag: Gauge("history_lag_seconds"),
        /// Bytes of history, indexes included.
        pub bytes: IntGauge("history_bytes"),
        /// Days whose records were dropped, for their age or for want of room.
        pub dropped_days: IntCounter("history_drops_total"),
    }
}
