//! How fast an endpoint answers: exponentially weighted moving averages, in ms. Pure.

/// Assumed latency, in ms, of an endpoint without a success.
const ASSUMED_MS: f64 = 200.0;
const RECENT_WEIGHT: f64 = 0.2;
const LONG_TERM_WEIGHT: f64 = 0.02;
/// Weight of a success in the average that spaces deferred deliveries. It is small, because thousands of them are spaced by
/// the average of one moment.
const SUCCESS_WEIGHT: f64 = 0.05;
/// Average latency, in ms, up to which an endpoint is not slower even if it takes twice as long as usual.
const QUICK_MS: f64 = 250.0;
/// Average latency, in ms, above which an endpoint is slow.
const SLOW_MS: f64 = 2_000.0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyEwma {
    success: Option<f64>,
    /// Average of attempts that were answered or timed out.
    recent: Option<f64>,
    long_term: Option<f64>,
}

impl LatencyEwma {
    pub(super) fn note(&mut self, took_ms: u64, is_success: bool) {
        let took = took_ms as f64;
        let average = |old: Option<f64>, weight: f64| old.map_or(took, |old| old + weight * (took - old));
        self.recent = Some(average(self.recent, RECENT_WEIGHT));
        self.long_term = Some(average(self.long_term, LONG_TERM_WEIGHT));
        if is_success {
            self.success = Some(average(self.success, SUCCESS_WEIGHT));
        }
    }

    /// Whether the endpoint takes much longer than it used to. One late answer is no sign: latencies have long tails.
    pub(super) fn is_slower(&self) -> bool {
        let (Some(recent), Some(long_term)) = (self.recent, self.long_term) else { return false };
        recent > QUICK_MS && recent > 2.0 * long_term
    }

    pub(super) fn is_slow(&self) -> bool {
        self.recent.is_some_and(|recent| recent > SLOW_MS)
    }

    /// Average ms of a success; an assumption before the first one.
    pub(super) fn round_trip_ms(&self) -> f64 {
        self.success.unwrap_or(ASSUMED_MS).max(0.1)
    }

    /// Average ms of a success; 0 before the first one.
    pub(super) fn success_ms(&self) -> f64 {
        self.success.unwrap_or_default()
    }

    pub(super) fn has_success(&self) -> bool {
        self.success.is_some()
    }

    pub(super) fn recent_ms(&self) -> u64 {
        self.recent.unwrap_or(ASSUMED_MS) as u64
    }

    #[cfg(test)]
    pub(super) fn measured_as(ms: f64) -> Self {
        Self { success: Some(ms), recent: Some(ms), long_term: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_slower_after_many_late_answers_but_not_after_one() {
        let mut latency = LatencyEwma::default();
        (0..200).for_each(|_| latency.note(100, true));
        latency.note(400, true);
        assert!(!latency.is_slower(), "{latency:?}");
        (0..10).for_each(|_| latency.note(400, true));
        assert!(latency.is_slower(), "{latency:?}");
    }

    #[test]
    fn an_endpoint_that_answers_quickly_is_never_slower_however_much_it_varies() {
        let mut latency = LatencyEwma::default();
        (0..200).for_each(|_| latency.note(10, true));
        (0..50).for_each(|_| latency.note(200, true));
        assert!(!latency.is_slower(), "{latency:?}");
    }

    #[test]
    fn failures_do_not_count_as_round_trips() {
        let mut latency = LatencyEwma::default();
        latency.note(15_000, false);
        assert_eq!((latency.round_trip_ms(), latency.success_ms(), latency.recent_ms()), (ASSUMED_MS, 0.0, 15_000));
    }
}
