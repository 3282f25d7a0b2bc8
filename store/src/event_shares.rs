//! How many events a second each tenant may publish, while routers are behind and others wait. By default it is any
//! number.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

/// Time that an announcement is in force, in milliseconds: three intervals of announcements.
const IN_FORCE: u64 = 3_000;

/// The last announcement of each router, which the roles of a process share.
#[derive(Debug, Default)]
pub struct EventShares(ArcSwap<BTreeMap<String, Announcement>>);

#[derive(Clone, Debug)]
struct Announcement {
    by_tenant: Arc<BTreeMap<String, f64>>,
    /// The largest share in it. A router leaves a tenant that it does not name at least as much.
    largest: f64,
    /// Unix milliseconds.
    at: u64,
}

impl EventShares {
    /// Stores what a router announces at `now`, in unix milliseconds: the events a second of each tenant that publishes
    /// more than its share. `process` is the id of the router's process.
    pub fn hear(&self, process: String, by_tenant: BTreeMap<String, f64>, now: u64) {
        let mut heard = BTreeMap::clone(&self.0.load());
        let largest = by_tenant.values().copied().fold(0.0, f64::max);
        heard.insert(process, Announcement { by_tenant: Arc::new(by_tenant), largest, at: now });
        heard.retain(|_, announcement| announcement.is_in_force(now));
        self.0.store(Arc::new(heard));
    }

    /// Returns how many events a second a tenant may publish at `now`, in unix milliseconds; `None` while that is not
    /// limited. Routers share the events of one queue, so what they announce is added up.
    pub fn of(&self, tenant: &str, now: u64) -> Option<f64> {
        let heard = self.0.load();
        let in_force = || heard.values().filter(|announcement| announcement.is_in_force(now));
        let is_named = in_force().any(|announcement| announcement.by_tenant.contains_key(tenant));
        is_named.then(|| in_force().map(|announcement| announcement.of(tenant)).sum())
    }
}

impl Announcement {
    fn of(&self, tenant: &str) -> f64 {
        self.by_tenant.get(tenant).copied().unwrap_or(self.largest)
    }

    fn is_in_force(&self, now: u64) -> bool {
        now.abs_diff(self.at) <= IN_FORCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(per_second: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("acme".to_owned(), per_second)])
    }

    #[test]
    fn a_share_is_in_force_until_the_next_announcement_or_for_three_seconds() {
        let shares = EventShares::default();
        assert_eq!(shares.of("acme", 5), None);
        shares.hear("a".to_owned(), share(2.5), 10);
        assert_eq!((shares.of("acme", 10 + IN_FORCE), shares.of("beta", 10)), (Some(2.5), None));
        assert_eq!(shares.of("acme", 11 + IN_FORCE), None, "no router says so any more");
        shares.hear("a".to_owned(), BTreeMap::new(), 20);
        assert_eq!(shares.of("acme", 20), None);
    }

    #[test]
    fn shares_of_several_routers_add_up_while_they_are_announced() {
        let shares = EventShares::default();
        shares.hear("a".to_owned(), share(2.5), 1_000);
        shares.hear("b".to_owned(), share(4.0), 2_000);
        assert_eq!(shares.of("acme", 2_000), Some(6.5));
        assert_eq!(shares.of("acme", 1_001 + IN_FORCE), Some(4.0), "one of the routers has stopped");
    }

    #[test]
    fn a_router_that_does_not_name_a_tenant_leaves_it_as_much_as_those_that_it_names() {
        let shares = EventShares::default();
        shares.hear("a".to_owned(), share(100.0), 0);
        shares.hear("b".to_owned(), BTreeMap::from([("flood".to_owned(), 100.0)]), 0);
        assert_eq!(
            (shares.of("acme", 0), shares.of("flood", 0), shares.of("beta", 0)),
            (Some(200.0), Some(200.0), None)
        );
    }
}
