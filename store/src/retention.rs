//! How much of each tenant's dead letters is stored, as control announces it. By default everything is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use schemas::{DeadLetterRetention, RetentionLevels};

/// Time that an announcement is in force, in milliseconds: six intervals of announcements. Without a newer one, or
/// after a larger step of the clock, everything is stored again, because too much is better than a loss.
const IN_FORCE: u64 = 60_000;

/// The last announcement of control, which the roles of a process share.
#[derive(Debug, Default)]
pub struct RetentionTable(ArcSwap<Announcement>);

#[derive(Debug, Default)]
struct Announcement {
    levels: RetentionLevels,
    /// Unix milliseconds.
    at: u64,
    /// Bytes that this process has stored since, of each tenant.
    stored: Mutex<HashMap<String, u64>>,
}

impl RetentionTable {
    /// Keeps an announcement of control that arrives at `now`, in unix milliseconds. Everything is stored of tenants
    /// whose level it does not name, up to their allowance.
    pub fn hear(&self, levels: impl Into<RetentionLevels>, now: u64) {
        self.0.store(Arc::new(Announcement { levels: levels.into(), at: now, stored: Mutex::default() }));
    }

    /// Returns how much of a tenant's dead letters is stored at `now`, in unix milliseconds.
    pub fn of(&self, tenant: &str, now: u64) -> DeadLetterRetention {
        let heard = self.0.load();
        heard.levels.by_tenant.get(tenant).copied().filter(|_| heard.is_in_force(now)).unwrap_or_default()
    }

    /// Returns how much of a dead letter of so many bytes is stored at `now`. A tenant that has used up its allowance gets
    /// records without bodies until the next announcement: a flood is far ahead of what control has counted.
    pub fn take(&self, tenant: &str, bytes: u64, now: u64) -> DeadLetterRetention {
        let heard = self.0.load();
        let RetentionLevels { allowance, allowances, .. } = &heard.levels;
        let level = self.of(tenant, now);
        let Some(allowance) = allowances.get(tenant).copied().or(*allowance) else { return level };
        if level != DeadLetterRetention::Bodies || !heard.is_in_force(now) {
            return level;
        }
        let mut stored = heard.stored.lock().unwrap_or_else(PoisonError::into_inner);
        match stored.get_mut(tenant) {
            Some(own) if *own >= allowance => return DeadLetterRetention::Records,
            Some(own) => *own += bytes,
            None => _ = stored.insert(tenant.to_owned(), bytes),
        }
        DeadLetterRetention::Bodies
    }
}

impl Announcement {
    fn is_in_force(&self, now: u64) -> bool {
        now.abs_diff(self.at) <= IN_FORCE
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_announcement_is_in_force_until_the_next_one_or_for_a_minute() {
        let levels = RetentionTable::default();
        assert_eq!(levels.of("acme", 5), DeadLetterRetention::Bodies);
        levels.hear(BTreeMap::from([("acme".to_owned(), DeadLetterRetention::Records)]), 10);
        assert_eq!(levels.of("acme", 10 + IN_FORCE), DeadLetterRetention::Records);
        assert_eq!(levels.of("beta", 10), DeadLetterRetention::Bodies);
        assert_eq!(levels.of("acme", 11 + IN_FORCE), DeadLetterRetention::Bodies, "nobody says so any more");
        levels.hear(BTreeMap::new(), 20);
        assert_eq!(levels.of("acme", 20), DeadLetterRetention::Bodies);
    }

    #[test]
    fn an_announcement_of_before_the_clock_was_set_back_is_not_in_force_for_as_long() {
        let (levels, hour) = (RetentionTable::default(), 3_600_000);
        levels.hear(BTreeMap::from([("acme".to_owned(), DeadLetterRetention::Counts)]), hour);
        assert_eq!(levels.of("acme", hour - 1), DeadLetterRetention::Counts, "the time was read before it came");
        assert_eq!(levels.of("acme", 0), DeadLetterRetention::Bodies);
    }

    #[test]
    fn an_allowance_bounds_the_bytes_of_each_tenant_between_two_announcements() {
        use DeadLetterRetention::{Bodies, Counts, Records};
        let levels = RetentionTable::default();
        assert_eq!([1, 2].map(|_| levels.take("acme", 1_000, 0)), [Bodies; 2], "nobody says how much");
        let announced = RetentionLevels {
            by_tenant: BTreeMap::from([("full".to_owned(), Counts)]),
            allowance: Some(100),
            allowances: BTreeMap::from([("zeta".to_owned(), 1)]),
        };
        levels.hear(announced.clone(), 0);
        assert_eq!([1, 2, 3].map(|now| levels.take("acme", 99, now)), [Bodies, Bodies, Records]);
        assert_eq!([1, 2].map(|now| levels.take("zeta", 99, now)), [Bodies, Records], "one is always kept");
        assert_eq!((levels.take("full", 1, 1), levels.take("beta", 1, 1)), (Counts, Bodies));
        assert_eq!(levels.take("acme", 99, 1 + IN_FORCE), Bodies, "nobody says so any more");
        levels.hear(announced, 10);
        assert_eq!(levels.take("acme", 99, 10), Bodies);
    }
}
