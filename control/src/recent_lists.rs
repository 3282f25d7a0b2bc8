//! The dead letters that the first page of a list found, kept for the pages after it: each of these reads its own part
//! of the log, and not all of it again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{DeadLetterFilter, LiveDeadLetters};

/// Most lists that are kept, one for each tenant.
const MAX_LISTS: usize = 64;
/// Most dead letters in all lists together. Each takes some 40 bytes. A longer list is read anew for each page.
const MAX_LETTERS: usize = 1_000_000;
/// Time from one page to the next after which a list is forgotten, in milliseconds.
const KEPT: u64 = 5 * 60_000;

#[derive(Debug, Default)]
pub(crate) struct RecentLists(Mutex<HashMap<String, RecentList>>);

#[derive(Debug)]
struct RecentList {
    filter: DeadLetterFilter,
    live: LiveDeadLetters,
    /// Time of its last page, in unix ms.
    at: u64,
}

impl RecentLists {
    /// Returns the tenant's list if it has this filter. `now` is unix ms.
    pub(crate) fn get(&self, tenant: &str, filter: &DeadLetterFilter, now: u64) -> Option<LiveDeadLetters> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget_old(&mut lists, now);
        let list = lists.get_mut(tenant).filter(|list| list.filter == *filter)?;
        list.at = now;
        Some(list.live.clone())
    }

    /// Keeps a list in place of the tenant's last one. The lists whose last page is the longest ago leave for it.
    pub(crate) fn put(&self, tenant: &str, filter: &DeadLetterFilter, live: &LiveDeadLetters, now: u64) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget_old(&mut lists, now);
        lists.remove(tenant);
        if live.len() > MAX_LETTERS {
            return;
        }
        let letters = |lists: &HashMap<String, RecentList>| lists.values().map(|list| list.live.len()).sum::<usize>();
        while lists.len() >= MAX_LISTS || letters(&lists) + live.len() > MAX_LETTERS {
            let oldest = lists.iter().min_by_key(|(_, list)| list.at).map(|(tenant, _)| tenant.clone());
            let Some(oldest) = oldest else { break };
            lists.remove(&oldest);
        }
        lists.insert(tenant.to_owned(), RecentList { filter: filter.clone(), live: live.clone(), at: now });
    }
}

fn forget_old(lists: &mut HashMap<String, RecentList>, now: u64) {
    lists.retain(|_, list| now.saturating_sub(list.at) <= KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_kept_for_its_tenant_and_filter_while_pages_are_asked_for() {
        let (lists, all) = (RecentLists::default(), DeadLetterFilter::default());
        let other = DeadLetterFilter { endpoint_id: Some("crm".into()), ..all.clone() };
        lists.put("acme", &all, &LiveDeadLetters::default(), 0);
        assert!(lists.get("acme", &all, KEPT).is_some());
        assert!(lists.get("acme", &other, KEPT).is_none() && lists.get("zeta", &all, KEPT).is_none());
        assert!(lists.get("acme", &all, 2 * KEPT).is_some(), "each page extends it");
        assert!(lists.get("acme", &all, 3 * KEPT + 1).is_none());
    }

    #[test]
    fn the_list_that_was_not_asked_for_longest_leaves_for_a_new_one() {
        let (lists, all) = (RecentLists::default(), DeadLetterFilter::default());
        for tenant in 0..MAX_LISTS {
            lists.put(&tenant.to_string(), &all, &LiveDeadLetters::default(), tenant as u64);
        }
        assert!(lists.get("0", &all, 1_000).is_some());
        lists.put("acme", &all, &LiveDeadLetters::default(), 1_001);
        assert!(lists.get("1", &all, 1_002).is_none());
        assert!(lists.get("0", &all, 1_002).is_some() && lists.get("acme", &all, 1_002).is_some());
    }
}
