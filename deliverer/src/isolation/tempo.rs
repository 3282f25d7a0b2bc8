//! How fast an endpoint answers: averages of what was measured, in ms, and whether it has become slower.

/// Latency of an endpoint that never answered, in ms, for reckoning ahead.
const ASSUMED: f64 = 200.0;
/// How much a new latency counts in the average of late,
const WEIGHT: f64 = 0.2;
/// and in the usual one.
const USUAL_WEIGHT: f64 = 0.02;
/// Answers faster than this, in ms, are no sign of trouble, though they take twice as long as usual.
const QUICK: f64 = 250.0;

/// The averages of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tempo {
    /// Of successes.
    round_trip: Option<f64>,
    /// Of anything that was answered, or not in time.
    latency: Option<f64>,
    /// The same over a long time.
    usual: Option<f64>,
}

impl Tempo {
    /// An attempt took so many ms. Returns the average of late.
    pub(super) fn note(&mut self, took: u64, is_success: bool) -> f64 {
        let took = took as f64;
        let average = |old: Option<f64>, weight: f64| old.map_or(took, |old| old + weight * (took - old));
        let latency = average(self.latency, WEIGHT);
        self.usual = Some(average(self.usual, USUAL_WEIGHT));
        if is_success {
            self.round_trip = Some(average(self.round_trip, WEIGHT));
        }
        *self.latency.insert(latency)
    }

    /// Whether it takes much longer of late than it used to. One late answer is none: latencies have long tails.
    pub(super) fn is_slower(&self) -> bool {
        let (Some(latency), Some(usual)) = (self.latency, self.usual) else { return false };
        latency > QUICK && latency > 2.0 * usual
    }

    /// Ms of a success, assumed where there was none.
    pub(super) fn round_trip(&self) -> f64 {
        self.round_trip.unwrap_or(ASSUMED).max(0.1)
    }

    /// Average ms of a success; 0 where there was none.
    pub(super) fn success(&self) -> f64 {
        self.round_trip.unwrap_or_default()
    }

    /// Ms of an answer of late, assumed where there was none.
    pub(super) fn latency(&self) -> u64 {
        self.latency.unwrap_or(ASSUMED) as u64
    }

    /// Answers take so long, in ms.
    #[cfg(test)]
    pub(super) fn measured_as(ms: f64) -> Self {
        Self { round_trip: Some(ms), latency: Some(ms), usual: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_answer_is_no_sign_but_many_are() {
        let mut tempo = Tempo::default();
        (0..200).for_each(|_| _ = tempo.note(100, true));
        tempo.note(400, true);
        assert!(!tempo.is_slower(), "{tempo:?}");
        (0..10).for_each(|_| _ = tempo.note(400, true));
        assert!(tempo.is_slower(), "{tempo:?}");
    }

    #[test]
    fn what_answers_quickly_is_never_slower_however_much_it_varies() {
        let mut tempo = Tempo::default();
        (0..200).for_each(|_| _ = tempo.note(10, true));
        (0..50).for_each(|_| _ = tempo.note(200, true));
        assert!(!tempo.is_slower(), "{tempo:?}");
    }

    #[test]
    fn failures_do_not_count_as_round_trips() {
        let mut tempo = Tempo::default();
        tempo.note(15_000, false);
        assert_eq!((tempo.round_trip(), tempo.success(), tempo.latency()), (ASSUMED, 0.0, 15_000));
    }
}
