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
    /// The shortest time that a confirm took, in seconds: that of one that waited for nothing.
    shortest: f64,
}

impl Pace {
    pub(crate) fn new(most: u32) -> Self {
        Self { limit: FIRST_LIMIT, most: most.into(), shortest: f64::INFINITY }
    }

    /// Notes a confirm and how long it took. `is_used` says that at least half of the limit is under way.
    pub(crate) fn confirmed(&mut self, took: Duration, is_used: bool) {
        let took = took.as_secs_f64();
        self.shortest = self.shortest.min(took);
        if took <= 0.0 {
            return;
        }
        let waiting = self.limit * (1.0 - self.shortest / took);
        if waiting > MOST_WAITING {
            self.limit -= STEP / self.limit;
        } else if waiting < FEWEST_WAITING && is_used {
            self.limit += STEP / self.limit;
        }
        self.limit = self.limit.clamp(LEAST_LIMIT, self.most);
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 800;

    /// The limit at a broker that does eight publishes in a ms and confirms `away` after the last byte at the earliest.
    fn limit_at(away: Duration) -> u32 {
        let mut pace = Pace::new(MOST);
        pace.confirmed(away, false);
        for _ in 0..100_000 {
            let busy = Duration::from_secs_f64(f64::from(pace.limit()) / 8_000.0);
            pace.confirmed(away.max(busy), true);
        }
        pace.limit()
    }

    #[test]
    fn next_to_nothing_waits_in_a_near_broker_and_a_distant_one_is_busy() {
        let near = limit_at(Duration::from_micros(500));
        assert!((16..=32).contains(&near), "{near}");
        let distant = limit_at(Duration::from_millis(20));
        assert!((160..=200).contains(&distant), "{distant}");
        assert_eq!(limit_at(Duration::from_secs(1)), MOST);
    }

    #[test]
    fn the_limit_does_not_grow_while_it_is_not_used() {
        let mut pace = Pace::new(MOST);
        (0..1_000).for_each(|_| pace.confirmed(Duration::from_millis(20), false));
        assert_eq!(pace.limit(), 32);
    }
}
