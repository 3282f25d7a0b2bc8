//! How many publishes may be under way at once, if a broker shall be busy and next to nothing shall wait in it: TCP Vegas
//! (Brakmo and Peterson, 1995). Pure.

use std::time::Duration;

/// Numbers of publishes that wait in the broker, below which there are too few under way, and above which too many.
const FEWEST_WAITING: f64 = 8.0;
const MOST_WAITING: f64 = 24.0;
/// Change of the limit in one round trip.
const STEP: f64 = 4.0;
const FIRST_LIMIT: f64 = 32.0;
const LEAST_LIMIT: f64 = 16.0;

#[derive(Debug)]
pub(crate) struct Pace {
    limit: f64,
    most: f64,
    /// The time of a confirm, in seconds, that waits for nothing: that of the latest publish that was the only one, or a
    /// shorter one since.
    shortest: f64,
}

impl Pace {
    pub(crate) fn new(most: u32) -> Self {
        Self { limit: FIRST_LIMIT.min(most.into()), most: most.into(), shortest: f64::INFINITY }
    }

    /// Notes a confirm and how long it took. `was_only` says that no other publish was under way when its publish began,
    /// and `is_used` that at least half of the limit is under way.
    pub(crate) fn confirmed(&mut self, took: Duration, was_only: bool, is_used: bool) {
        let took = took.as_secs_f64();
        self.shortest = if was_only { took } else { self.shortest.min(took) };
        if took <= 0.0 {
            return;
        }
        let waiting = self.limit * (1.0 - self.shortest / took);
        if waiting > MOST_WAITING {
            self.limit -= STEP / self.limit;
        } else if waiting < FEWEST_WAITING && is_used {
            self.limit += STEP / self.limit;
        }
        self.limit = self.limit.max(LEAST_LIMIT).min(self.most);
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 800;

    /// The limit at a broker that does eight publishes in a ms and takes `away` for a confirm at least.
    fn limit_at(away: Duration, pace: &mut Pace) -> u32 {
        pace.confirmed(away, true, false);
        for _ in 0..100_000 {
            let busy = Duration::from_secs_f64(f64::from(pace.limit()) / 8_000.0);
            pace.confirmed(away.max(busy), false, true);
        }
        pace.limit()
    }

    #[test]
    fn next_to_nothing_waits_in_a_near_broker_and_a_distant_one_is_busy() {
        let pace = &mut Pace::new(MOST);
        for (away_ms, expected) in [(0.5, 16..=32), (20.0, 160..=200), (0.5, 16..=32), (1_000.0, MOST..=MOST)] {
            let limit = limit_at(Duration::from_secs_f64(away_ms / 1_000.0), pace);
            assert!(expected.contains(&limit), "{limit} at {away_ms} ms");
        }
    }

    #[test]
    fn the_limit_does_not_grow_while_it_is_not_used() {
        let mut pace = Pace::new(MOST);
        (0..1_000).for_each(|_| pace.confirmed(Duration::from_millis(20), false, false));
        assert_eq!(pace.limit(), 32);
    }
}
