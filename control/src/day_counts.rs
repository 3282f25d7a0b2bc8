//! Records of a log by reason and hour, so that those of today and of a day can be told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

const HOUR_MS: u64 = 3_600_000;
const DAY_HOURS: u64 = 24;
/// Hours that are kept.
const KEPT_HOURS: u64 = DAY_HOURS + 1;

/// Number of records by reason.
pub(crate) type ByReason = BTreeMap<&'static str, u64>;

#[derive(Debug, Default)]
pub(crate) struct DayCounts(Mutex<Hours>);

#[derive(Debug, Default)]
struct Hours {
    /// Records of each tenant, by the hour since 1970. The name of a tenant is empty for what is no tenant's.
    by_hour: BTreeMap<u64, HashMap<Box<str>, ByReason>>,
    is_complete: bool,
}

impl DayCounts {
    /// Adds a record of the time `at`. Both times are in unix milliseconds. Publishers write times as well, so that one may
    /// lie in the future: it counts as now.
    pub(crate) fn add(&self, at: u64, tenant: &str, reason: &'static str, now: u64) {
        let (mut hours, hour) = (self.lock(), at.min(now) / HOUR_MS);
        let oldest = (now / HOUR_MS).saturating_sub(KEPT_HOURS);
        if hour < oldest {
            return;
        }
        if hours.by_hour.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            hours.by_hour = hours.by_hour.split_off(&oldest);
        }
        let by_tenant = hours.by_hour.entry(hour).or_default();
        if !by_tenant.contains_key(tenant) {
            by_tenant.insert(tenant.into(), ByReason::new());
        }
        if let Some(by_reason) = by_tenant.get_mut(tenant) {
            *by_reason.entry(reason).or_default() += 1;
        }
    }

    /// Notes that the log was read to its end.
    pub(crate) fn complete(&self) {
        self.lock().is_complete = true;
    }

    /// Records since midnight (UTC); of one tenant, or of all. None before the log was read once.
    pub(crate) fn today(&self, tenant: Option<&str>, now: u64) -> Option<ByReason> {
        let hour = now / HOUR_MS;
        self.between(hour - hour % DAY_HOURS, hour, tenant)
    }

    /// Records of the last 24 hours, to the hour.
    pub(crate) fn last_day(&self, tenant: Option<&str>, now: u64) -> Option<ByReason> {
        let hour = now / HOUR_MS;
        self.between(hour.saturating_sub(DAY_HOURS - 1), hour, tenant)
    }

    /// Records from the hour `first` to the hour `last`, with both.
    fn between(&self, first: u64, last: u64, tenant: Option<&str>) -> Option<ByReason> {
        let hours = self.lock();
        let mut sum = ByReason::new();
        let mut add = |counts: &ByReason| {
            for (reason, count) in counts {
                *sum.entry(*reason).or_default() += count;
            }
        };
        for (_, by_tenant) in hours.by_hour.range(first..=last) {
            match tenant {
                Some(tenant) => by_tenant.get(tenant).into_iter().for_each(&mut add),
                None => by_tenant.values().for_each(&mut add),
            }
        }
        hours.is_complete.then_some(sum)
    }

    fn lock(&self) -> MutexGuard<'_, Hours> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Midnight of a day.
    const MIDNIGHT: u64 = 1_790_035_200_000;

    #[test]
    fn records_are_told_by_reason_since_midnight_and_for_a_day() {
        let counts = DayCounts::default();
        assert_eq!(counts.today(None, MIDNIGHT), None, "nothing was read yet");
        let now = MIDNIGHT + 2 * HOUR_MS;
        for (at, tenant, reason) in [
            (MIDNIGHT - 30 * HOUR_MS, "acme", "exhausted"),
            (MIDNIGHT - HOUR_MS, "acme", "exhausted"),
            (MIDNIGHT + 1, "acme", "expired"),
            (MIDNIGHT + HOUR_MS, "zeta", "expired"),
            (MIDNIGHT - 40 * HOUR_MS, "acme", "exhausted"),
        ] {
            counts.add(at, tenant, reason, now);
        }
        counts.complete();
        assert_eq!(counts.today(None, now), Some(ByReason::from([("expired", 2)])));
        assert_eq!(counts.today(Some("acme"), now), Some(ByReason::from([("expired", 1)])));
        assert_eq!(counts.last_day(None, now), Some(ByReason::from([("exhausted", 1), ("expired", 2)])));
        assert_eq!(counts.today(None, now + DAY_HOURS * HOUR_MS), Some(ByReason::new()), "the next day");
        assert_eq!(counts.lock().by_hour.len(), 3, "what is older is forgotten");
    }

    #[test]
    fn a_record_of_a_future_time_counts_as_now_and_drops_nothing() {
        let (counts, now) = (DayCounts::default(), MIDNIGHT + HOUR_MS);
        counts.complete();
        counts.add(now, "acme", "schema", now);
        counts.add(now * 1_000, "acme", "decode", now);
        counts.add(now, "acme", "schema", now);
        let all = ByReason::from([("decode", 1), ("schema", 2)]);
        assert_eq!((counts.today(None, now), counts.last_day(None, now)), (Some(all.clone()), Some(all)));
        let tomorrow = now + DAY_HOURS * HOUR_MS;
        assert_eq!(counts.today(None, tomorrow), Some(ByReason::new()), "it is of its day only");
        counts.add(tomorrow, "acme", "schema", tomorrow);
        assert_eq!(counts.today(None, now), Some(ByReason::from([("decode", 1), ("schema", 2)])), "a clock set back");
    }
}
