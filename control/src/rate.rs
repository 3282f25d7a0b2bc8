//! The rate of a replay, and the throttle that enforces it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Starts per second: more than 0, and at most a million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number above 0 and up to 1000000")]
pub struct InvalidRate;

impl TryFrom<f64> for Rate {
    type Error = InvalidRate;

    fn try_from(per_second: f64) -> Result<Self, InvalidRate> {
        // NaN fails both comparisons.
        if per_second > 0.0 && per_second <= 1e6 { Ok(Self(per_second)) } else { Err(InvalidRate) }
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

/// Longest time for which missed starts are made up. Timers tick in whole milliseconds, so some starts are always late,
/// but a flood must not follow when the broker was blocked for a while.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Spreads starts evenly over time.
pub(crate) struct Throttle {
    gap: Option<Duration>,
    next: Instant,
}

impl Throttle {
    /// Makes a throttle for a rate. Without a rate it never waits.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        // A rate that is too low for a `Duration` becomes one start a day.
        let longest = Duration::from_secs(86_400);
        let gap = |Rate(rate)| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(longest).min(longest);
        Self { gap: rate.map(gap), next: Instant::now() }
    }

    /// Waits until the next start is due.
    pub(crate) async fn wait(&mut self) {
        let Some(gap) = self.gap else { return };
        tokio::time::sleep_until(self.next).await;
        let earliest = Instant::now().checked_sub(CATCH_UP).unwrap_or(self.next);
        self.next = self.next.max(earliest) + gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_for(starts: u32, throttle: &mut Throttle) -> Duration {
        let begun = Instant::now();
        for _ in 0..starts {
            throttle.wait().await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_below_and_above_the_timers_resolution() {
        for rate in [2.0, 500.0, 20_000.0] {
            let took = time_for(2_001, &mut Throttle::new(Rate::try_from(rate).ok())).await.as_secs_f64();
            let due = 2_000.0 / rate;
            assert!((due - 0.001..due + 0.002).contains(&took), "{rate}: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_followed_by_a_flood() {
        let mut throttle = Throttle::new(Rate::try_from(100.0).ok());
        time_for(1, &mut throttle).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(time_for(111, &mut throttle).await >= Duration::from_millis(990));
    }

    #[test]
    fn only_sensible_numbers_are_rates() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
            assert_eq!(Rate::try_from(wrong), Err(InvalidRate), "{wrong}");
        }
    }
}
