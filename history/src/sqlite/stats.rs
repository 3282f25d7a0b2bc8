//! Counts by hour and day, summed over the files: a count is in the file of its event's first day.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use schemas::OutcomeClass;

use super::{
    folder::DAY_MS,
    rows::outcome,
    write::{DEAD, EVENTS, NO_ENDPOINT, signed},
};
use crate::{HistoryError, StatsBy, StatsPoint, StatsRequest, durations::Durations};

const HOUR_MS: u64 = 3_600_000;

#[derive(Default)]
struct Sums {
    events: u64,
    dead: u64,
    outcomes: BTreeMap<&'static str, u64>,
    durations: Durations,
}

#[derive(Default)]
pub(super) struct Stats(BTreeMap<u64, Sums>);

impl Stats {
    /// Adds what a file has: of a tenant, or of all of them; of some endpoints, or of all of them.
    pub(super) fn add(
        &mut self,
        file: &Connection,
        request: &StatsRequest,
        tenant: Option<i64>,
        endpoints: Option<&[i64]>,
    ) -> Result<(), HistoryError> {
        let select = "SELECT hour, endpoint, what, count, durations FROM counts
            WHERE hour >= ?1 AND hour <= ?2 AND (?3 IS NULL OR tenant = ?3)";
        let mut select = file.prepare_cached(select)?;
        let last = signed(request.until.saturating_sub(1) / HOUR_MS);
        let mut rows = select.query(params![signed(request.since / HOUR_MS), last, tenant])?;
        while let Some(row) = rows.next()? {
            let endpoint: i64 = row.get(1)?;
            let what = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?.to_owned();
            let is_meant = match (endpoints, what.as_str()) {
                (Some(endpoints), _) => endpoints.contains(&endpoint),
                // An event is counted for its tenant, and for each of its endpoints.
                (None, EVENTS) => endpoint == NO_ENDPOINT,
                (None, _) => true,
            };
            if !is_meant {
                continue;
            }
            let hour = row.get::<_, i64>(0)?.unsigned_abs() * HOUR_MS;
            let at = match request.by {
                StatsBy::Hour => hour,
                StatsBy::Day => hour / DAY_MS * DAY_MS,
            };
            let count = row.get::<_, i64>(3)?.unsigned_abs();
            let sums = self.0.entry(at).or_default();
            match (what.as_str(), outcome(&what)) {
                (EVENTS, _) => sums.events += count,
                (DEAD, _) => sums.dead += count,
                (_, Some(class)) => {
                    *sums.outcomes.entry(class.as_str()).or_default() += count;
                    let bytes: Option<Vec<u8>> = row.get(4)?;
                    sums.durations.merge(&Durations::from_bytes(&bytes.unwrap_or_default()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn points(self) -> Vec<StatsPoint> {
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
