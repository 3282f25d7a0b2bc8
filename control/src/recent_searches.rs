//! Searches for dead letters that were made lately, one for each tenant. A further page, a count, or a request that is
//! repeated as it took too long goes on from where the last search of the same filter was.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
};

use tokio::sync::Mutex;

use crate::{DeadLetterFilter, dead_letters::Search};

/// Most searches that are kept.
const MAX_SEARCHES: usize = 64;
/// Most dead letters that all searches together have found. Each takes some 100 bytes. The last search is kept whatever
/// it has found, as it could not go on otherwise.
const MAX_LETTERS: usize = 500_000;
/// Time after which a search is forgotten that was not asked for, in milliseconds.
const KEPT: u64 = 5 * 60_000;
/// Time after which a search begins anew, in milliseconds: it has found records that the log has deleted since.
const LONGEST: u64 = 60 * 60_000;

#[derive(Debug, Default)]
pub(crate) struct RecentSearches(SyncMutex<HashMap<String, RecentSearch>>);

#[derive(Debug)]
struct RecentSearch {
    filter: DeadLetterFilter,
    search: Arc<Mutex<Search>>,
    /// Time at which it began, in unix ms.
    begun: u64,
    /// Time at which it was asked for last, in unix ms.
    at: u64,
}

impl RecentSearch {
    /// Dead letters that it has found. One that is under way counts only once it has ended.
    fn letters(&self) -> usize {
        self.search.try_lock().map_or(0, |search| search.len())
    }
}

impl RecentSearches {
    /// Returns the tenant's search if it has this filter, and otherwise a new one in its place. `now` is unix ms.
    pub(crate) fn get(&self, tenant: &str, filter: &DeadLetterFilter, now: u64) -> Arc<Mutex<Search>> {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        searches
            .retain(|_, recent| now.saturating_sub(recent.at) <= KEPT && now.saturating_sub(recent.begun) <= LONGEST);
        let same = searches.remove(tenant).filter(|recent| recent.filter == *filter);
        let letters =
            |searches: &HashMap<String, RecentSearch>| searches.values().map(RecentSearch::letters).sum::<usize>();
        while searches.len() >= MAX_SEARCHES || letters(&searches) > MAX_LETTERS {
            let oldest = searches.iter().min_by_key(|(_, recent)| recent.at).map(|(tenant, _)| tenant.clone());
            let Some(oldest) = oldest else { break };
            searches.remove(&oldest);
        }
        let (search, begun) = match same {
            Some(same) => (same.search, same.begun),
            None => (Arc::new(Mutex::new(Search::new(Some(tenant), filter))), now),
        };
        let recent = RecentSearch { filter: filter.clone(), search: search.clone(), begun, at: now };
        searches.insert(tenant.to_owned(), recent);
        search
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_kept_for_its_tenant_and_filter_while_it_is_asked_for() {
        let (searches, all) = (RecentSearches::default(), DeadLetterFilter::default());
        let first = searches.get("acme", &all, 0);
        let is_first = |tenant, filter: &DeadLetterFilter, now| Arc::ptr_eq(&first, &searches.get(tenant, filter, now));
        assert!(is_first("acme", &all, KEPT) && is_first("acme", &all, 2 * KEPT), "each look extends it");
        assert!(!is_first("zeta", &all, 2 * KEPT));
        assert!(is_first("acme", &all, 3 * KEPT) && !is_first("acme", &all, 4 * KEPT + 1));
        let other = DeadLetterFilter { endpoint_id: Some("crm".into()), ..all.clone() };
        let newest = searches.get("acme", &other, 5 * KEPT);
        assert!(Arc::ptr_eq(&newest, &searches.get("acme", &other, 5 * KEPT)));
    }

    #[test]
    fn a_search_begins_anew_after_an_hour_however_often_it_is_asked_for() {
        let (searches, all) = (RecentSearches::default(), DeadLetterFilter::default());
        let first = searches.get("acme", &all, 0);
        let is_first = |now| Arc::ptr_eq(&first, &searches.get("acme", &all, now));
        assert!((0..=LONGEST).step_by(60_000).all(is_first));
        assert!(!is_first(LONGEST + 1));
    }

    #[test]
    fn the_search_that_was_not_asked_for_longest_leaves_for_a_new_one() {
        let (searches, all) = (RecentSearches::default(), DeadLetterFilter::default());
        let made: Vec<_> = (0..MAX_SEARCHES).map(|nth| searches.get(&nth.to_string(), &all, nth as u64)).collect();
        let is_kept = |nth: usize| Arc::ptr_eq(&made[nth], &searches.get(&nth.to_string(), &all, 1_000));
        assert!(is_kept(0));
        searches.get("acme", &all, 1_001);
        assert!(!is_kept(1) && is_kept(0) && is_kept(63));
    }
}
