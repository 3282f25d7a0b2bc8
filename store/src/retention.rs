//! How much of each tenant's dead letters is stored, as control announces it. By default everything is.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use schemas::DeadLetterRetention;

/// Time that an announcement is in force, in milliseconds: six intervals of announcements. Without a newer one, or
/// after a larger step of the clock, everything is stored again, because too much is better than a loss.
const IN_FORCE: u64 = 60_000;

/// The last announcement of control, which the roles of a process share.
#[derive(Debug, Default)]
pub struct RetentionTable(ArcSwap<Announcement>);

#[derive(Debug, Default)]
struct Announcement {
    levels: BTreeMap<String, DeadLetterRetention>,
    /// Unix milliseconds.
    at: u64,
}

impl RetentionTable {
    /// Stores an announcement of control that arrives at `now`, in unix milliseconds. Everything is stored of tenants
    /// that it does not name.
    pub fn hear(&self, levels: BTreeMap<String, DeadLetterRetention>, now: u64) {
        self.0.store(Arc::new(Announcement { levels, at: now }));
    }

    /// Returns how much of a tenant's dead letters is stored at `now`, in unix milliseconds.
    pub fn of(&self, tenant: &str, now: u64) -> DeadLetterRetention {
        let heard = self.0.load();
        let in_force = now.abs_diff(heard.at) <= IN_FORCE;
        heard.levels.get(tenant).copied().filter(|_| in_force).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
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
}
