//! Searches of a log that were made lately, one for each tenant. A further page, a count, or a request that is repeated as
//! it took too long goes on from where the last search of the same filter was.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
};

use tokio::sync::Mutex;

use crate::log_search::{LogFilter, Search};

/// Most searches that are kept.
const MAX_SEARCHES: usize = 64;
/// Most records that all searches together keep. Each takes some 100 bytes. The last search is kept whatever it keeps, as
/// it could not go on otherwise.
const MAX_RECORDS: usize = 500_000;
/// Time after which a search is forgotten that was not asked for, in milliseconds.
const KEPT: u64 = 5 * 60_000;
/// Time after which a search begins anew, in milliseconds: it has found records that the log has deleted since.
const LONGEST: u64 = 60 * 60_000;

#[derive(Debug)]
pub(crate) struct RecentSearches<F>(SyncMutex<HashMap<String, RecentSearch<F>>>);

#[derive(Debug)]
struct RecentSearch<F> {
    filter: F,
    search: Arc<Mutex<Search<F>>>,
    /// Time at which it began, in unix ms.
    begun: u64,
    /// Time at which it was asked for last, in unix ms.
    at: u64,
}

impl<F> Default for RecentSearches<F> {
    fn default() -> Self {
        Self(SyncMutex::default())
    }
}

impl<F: LogFilter> RecentSearch<F> {
    /// Records that it keeps. One that is under way counts only once it has ended.
    fn records(&self) -> usize {
        self.search.try_lock().map_or(0, |search| search.len())
    }
}

impl<F: LogFilter> RecentSearches<F> {
    /// Returns the tenant's search if it has this filter, and otherwise a new one in its place. `now` is unix ms.
    pub(crate) fn get(&self, tenant: &str, filter: F, now: u64) -> Arc<Mutex<Search<F>>> {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        searches
            .retain(|_, recent| now.saturating_sub(recent.at) <= KEPT && now.saturating_sub(recent.begun) <= LONGEST);
        let same = searches.remove(tenant).filter(|recent| recent.filter == filter);
        let records =
            |searches: &HashMap<String, RecentSearch<F>>| searches.values().map(RecentSearch::records).sum::<usize>();
        while searches.len() >= MAX_SEARCHES || records(&searches) > MAX_RECORDS {
            let oldest = searches.iter().min_by_key(|(_, recent)| recent.at).map(|(tenant, _)| tenant.clone());
            let Some(oldest) = oldest else { break };
            searches.remove(&oldest);
        }
        let (search, begun) = match same {
            Some(same) => (same.search, same.begun),
            None => (Arc::new(Mutex::new(Search::new(filter.clone()))), now),
        };
        searches.insert(tenant.to_owned(), RecentSearch { filter, search: search.clone(), begun, at: now });
        search
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeadLetterFilter, dead_letters::DeadLetterSearch};

    fn filter(endpoint_id: Option<&str>) -> DeadLetterSearch {
        let filter = DeadLetterFilter { endpoint_id: endpoint_id.map(str::to_owned), ..DeadLetterFilter::default() };
        DeadLetterSearch::new(None, 0, &filter)
    }

    #[test]
    fn a_search_is_kept_for_its_tenant_and_filter_while_it_is_asked_for() {
        let searches = RecentSearches::default();
        let first = searches.get("acme", filter(None), 0);
        let is_first = |tenant, now| Arc::ptr_eq(&first, &searches.get(tenant, filter(None), now));
        assert!(is_first("acme", KEPT) && is_first("acme", 2 * KEPT), "each look extends it");
        assert!(!is_first("zeta", 2 * KEPT));
        assert!(is_first("acme", 3 * KEPT) && !is_first("acme", 4 * KEPT + 1));
        let newest = searches.get("acme", filter(Some("crm")), 5 * KEPT);
        assert!(Arc::ptr_eq(&newest, &searches.get("acme", filter(Some("crm")), 5 * KEPT)));
    }

    #[test]
    fn a_search_begins_anew_after_an_hour_however_often_it_is_asked_for() {
        let searches = RecentSearches::default();
        let first = searches.get("acme", filter(None), 0);
        let is_first = |now| Arc::ptr_eq(&first, &searches.get("acme", filter(None), now));
        assert!((0..=LONGEST).step_by(60_000).all(is_first));
        assert!(!is_first(LONGEST + 1));
    }

    #[test]
    fn the_search_that_was_not_asked_for_longest_leaves_for_a_new_one() {
        let searches = RecentSearches::default();
        let made: Vec<_> =
            (0..MAX_SEARCHES).map(|nth| searches.get(&nth.to_string(), filter(None), nth as u64)).collect();
        let is_kept = |nth: usize| Arc::ptr_eq(&made[nth], &searches.get(&nth.to_string(), filter(None), 1_000));
        assert!(is_kept(0));
        searches.get("acme", filter(None), 1_001);
        assert!(!is_kept(1) && is_kept(0) && is_kept(63));
    }
}
