//! Counts as they are kept, and their sums by hour and day.

use std::collections::BTreeMap;

use schemas::OutcomeClass;

use crate::{StatsBy, StatsPoint, StatsRequest, durations::Durations, row::outcome};

/// What is counted besides the outcomes of attempts.
pub(crate) const EVENTS: &str = "events";
pub(crate) const DEAD: &str = "dead";
/// The endpoint of counts that are of a tenant's events, whatever endpoints they went to.
pub(crate) const NO_ENDPOINT: i64 = 0;
pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// One count: its hour since 1970, its endpoint, and what is counted.
pub(crate) struct CountRow<'a> {
    pub(crate) hour: u64,
    pub(crate) endpoint: i64,
    pub(crate) what: &'a str,
    pub(crate) count: u64,
    pub(crate) durations: &'a [u8],
}

#[derive(Default)]
struct Sums {
    events: u64,
    dead: u64,
    outcomes: BTreeMap<&'static str, u64>,
    durations: Durations,
}

#[derive(Default)]
pub(crate) struct Stats(BTreeMap<u64, Sums>);

impl Stats {
    /// Adds a count, if it is meant: of some endpoints, or of all of them.
    pub(crate) fn add(&mut self, row: &CountRow<'_>, request: &StatsRequest, endpoints: Option<&[i64]>) {
        let is_meant = match (endpoints, row.what) {
            (Some(endpoints), _) => endpoints.contains(&row.endpoint),
            // An event is counted for its tenant, and for each of its endpoints.
            (None, EVENTS) => row.endpoint == NO_ENDPOINT,
            (None, _) => true,
        };
        if !is_meant {
            return;
        }
        let hour = row.hour * HOUR_MS;
        let at = match request.by {
            StatsBy::Hour => hour,
            StatsBy::Day => hour / DAY_MS * DAY_MS,
        };
        let sums = self.0.entry(at).or_default();
        match (row.what, outcome(row.what)) {
            (EVENTS, _) => sums.events += row.count,
            (DEAD, _) => sums.dead += row.count,
            (_, Some(class)) => {
                *sums.outcomes.entry(class.as_str()).or_default() += row.count;
                sums.durations.merge(&Durations::from_bytes(row.durations));
            }
            _ => {}
        }
    }

    pub(crate) fn points(self) -> Vec<StatsPoint> {
        let point = |(at, sums): (u64, Sums)| {
            let Sums { events, dead, outcomes, durations } = sums;
            let success = OutcomeClass::Success.as_str();
            let delivered = outcomes.get(success).copied().unwrap_or_default();
            let failed_attempts = outcomes.iter().filter(|(class, _)| **class != success).map(|(_, count)| count).sum();
            let outcomes = outcomes.into_iter().filter_map(|(class, count)| Some((outcome(class)?, count))).collect();
            let (p50_ms, p95_ms) = (durations.quantile(0.5), durations.quantile(0.95));
            StatsPoint { at, events, delivered, failed_attempts, dead, p50_ms, p95_ms, outcomes }
        };
        self.0.into_iter().map(point).collect()
    }
}
