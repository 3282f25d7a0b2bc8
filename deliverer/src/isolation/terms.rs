//! What one process may do to an endpoint: its part of what all deliverers may do together. Pure.

use schemas::Endpoint;

use super::{pace::gap_of, peers::Peers};

/// Among how many the work is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// How many deliverers there are.
    pub(crate) count: u32,
    /// By how many what all may do is divided: for a newcomer more.
    pub(crate) by: u32,
}

impl Division {
    /// Between these, now (unix ms).
    pub(crate) fn of(peers: &mut Peers, now: u64) -> Self {
        Self { count: peers.count(now), by: peers.divisor(now) }
    }
}

/// What one process may do to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Terms {
    /// Requests under way; below one it is a rate: one request for so much of the time.
    pub(crate) most: f64,
    /// Ms between two attempts; 0 without a limit.
    pub(crate) gap: f64,
    /// The same once all know of each other: what is booked ahead is not to crawl at a newcomer's pace.
    pub(crate) soon: (f64, f64),
    /// Deliveries that wait.
    pub(crate) backlog: u64,
    /// How long an attempt may take, in ms, and a little.
    pub(crate) patience: u64,
}

/// Between an attempt's end and the word of it.
const LITTLE: u64 = 1_000;

impl Terms {
    /// For an endpoint as it is configured.
    pub(crate) fn of(endpoint: &Endpoint, division: Division) -> Self {
        let share = |by: u32| {
            let gap = endpoint.rate_limit.map_or(0.0, |limit| gap_of(limit.per_second / f64::from(by)));
            (f64::from(endpoint.max_in_flight) / f64::from(by), gap)
        };
        let (most, gap) = share(division.by);
        Self {
            most,
            gap,
            soon: share(division.count),
            // What is lost by a newcomer's modesty would be lost: here those count that are there.
            backlog: (endpoint.max_backlog / u64::from(division.count)).max(1),
            patience: endpoint.timeout.millis().saturating_add(LITTLE),
        }
    }

    /// Ms between two attempts, with requests that take `round_trip` ms: also for a share below one request.
    pub(crate) fn gap(&self, round_trip: f64) -> f64 {
        gap((self.most, self.gap), round_trip)
    }

    /// As they will be soon.
    pub(crate) fn gap_soon(&self, round_trip: f64) -> f64 {
        gap(self.soon, round_trip)
    }
}

fn gap((most, gap): (f64, f64), round_trip: f64) -> f64 {
    if most < 1.0 { gap.max(round_trip / most) } else { gap }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_what_is_allowed_and_may_be_below_one() {
        let endpoint: Endpoint = serde_json::from_value(serde_json::json!({
            "id": "crm", "url": "https://crm.example", "rate_limit": {"per_second": 10}, "max_in_flight": 2,
            "max_backlog": 1000,
        }))
        .unwrap();
        let alone = Terms::of(&endpoint, Division { count: 1, by: 1 });
        assert_eq!((alone.most, alone.gap, alone.backlog), (2.0, 102.0, 1_000));
        let fourth = Terms::of(&endpoint, Division { count: 4, by: 4 });
        assert_eq!((fourth.most, fourth.gap, fourth.backlog), (0.5, 408.0, 250));
        assert_eq!(fourth.gap(100.0), 408.0);
        assert_eq!(fourth.gap(1_000.0), 2_000.0, "half of the time one request");
        let newcomer = Terms::of(&endpoint, Division { count: 4, by: 16 });
        assert_eq!((newcomer.gap, newcomer.gap_soon(100.0), newcomer.backlog), (1_632.0, 408.0, 250));
    }
}
