//! Where a log has records, those of all tenants and those of each, so that a search reads these parts of the log only.
//! On RabbitMQ the rest is not empty: each reader appends a mark.
//!
//! The index is built by whoever follows the log, and lost with the process. What it does not cover yet is read as well.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most records of others that a search reads between two of its own. Reading from another place costs about as much: on
/// RabbitMQ a connection.
pub(crate) const GAP: u64 = 500;
/// Most ranges of all tenants together, some 23 MB. Then near ones are joined, and searches read more.
const MAX_RANGES: usize = 1_000_000;

#[derive(Debug)]
pub(crate) struct LogIndex(Mutex<Ranges>);

#[derive(Debug)]
struct Ranges {
    /// Offset of the first record that is not covered.
    next: u64,
    /// Most offsets between two records in one range.
    gap: u64,
    count: usize,
    max: usize,
    /// Those of all records.
    all: Vec<(u64, u64)>,
    /// Those of each tenant's records: the first and the last offset of each range, in order.
    tenants: HashMap<String, Vec<(u64, u64)>>,
}

impl Default for LogIndex {
    fn default() -> Self {
        Self::of_at_most(MAX_RANGES)
    }
}

impl LogIndex {
    fn of_at_most(max: usize) -> Self {
        Self(Mutex::new(Ranges { next: 0, gap: GAP, count: 0, max, all: Vec::new(), tenants: HashMap::new() }))
    }

    /// Adds the tenant's record. Records come in the order of the log; one that is covered already is passed over.
    pub(crate) fn add(&self, tenant: &str, offset: u64) {
        let mut ranges = self.lock();
        if offset < ranges.next {
            return;
        }
        ranges.next = offset + 1;
        ranges.add(tenant, offset);
        ranges.join_while_too_many();
    }

    /// The offsets from `from` on at which the tenant may have records, or any tenant, in order. The last range has no
    /// end.
    pub(crate) fn ranges(&self, tenant: Option<&str>, from: u64) -> Vec<RangeInclusive<u64>> {
        let ranges = self.lock();
        let own = match tenant {
            Some(tenant) => ranges.tenants.get(tenant).map_or(&[][..], Vec::as_slice),
            None => &ranges.all,
        };
        let own = &own[own.partition_point(|(_, last)| *last < from)..];
        let mut found: Vec<_> = own.iter().map(|(first, last)| *first.max(&from)..=*last).collect();
        let open = from.max(ranges.next);
        match found.pop() {
            Some(last) if open - last.end() <= ranges.gap => found.push(*last.start()..=u64::MAX),
            last => found.extend(last.into_iter().chain([open..=u64::MAX])),
        }
        found
    }

    /// Forgets what the log has deleted: all records before `first`.
    pub(crate) fn forget_before(&self, first: u64) {
        let mut ranges = self.lock();
        ranges.each(|own| own.retain(|(_, last)| *last >= first));
        ranges.tenants.retain(|_, own| !own.is_empty());
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranges {
    fn add(&mut self, tenant: &str, offset: u64) {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.to_owned(), Vec::new());
        }
        for own in self.tenants.get_mut(tenant).into_iter().chain([&mut self.all]) {
            match own.last_mut() {
                Some((_, last)) if offset - *last <= self.gap => *last = offset,
                _ => {
                    own.push((offset, offset));
                    self.count += 1;
                }
            }
        }
    }

    fn join_while_too_many(&mut self) {
        while self.count > self.max && self.gap < self.next {
            self.gap *= 2;
            let gap = self.gap;
            self.each(|own| {
                own.dedup_by(|later, earlier| {
                    let is_near = later.0 - earlier.1 <= gap;
                    if is_near {
                        earlier.1 = later.1;
                    }
                    is_near
                });
            });
        }
    }

    /// Makes each list of ranges shorter.
    fn each(&mut self, shorten: impl Fn(&mut Vec<(u64, u64)>)) {
        self.count = 0;
        for own in self.tenants.values_mut().chain([&mut self.all]) {
            shorten(own);
            own.shrink_to_fit();
            self.count += own.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_ranges_have_its_records_and_all_that_is_not_covered() {
        let index = LogIndex::default();
        assert_eq!(index.ranges(Some("acme"), 7), [7..=u64::MAX], "nothing is covered");
        for offset in [3, 4, 3 + GAP, 4_000] {
            index.add("acme", offset);
        }
        index.add("zeta", 9_000);
        assert_eq!(index.ranges(Some("acme"), 0), [3..=3 + GAP, 4_000..=4_000, 9_001..=u64::MAX]);
        assert_eq!(index.ranges(Some("acme"), 4), [4..=3 + GAP, 4_000..=4_000, 9_001..=u64::MAX]);
        assert_eq!(index.ranges(Some("acme"), 4_001), [9_001..=u64::MAX]);
        assert_eq!(index.ranges(Some("zeta"), 0), [9_000..=u64::MAX], "the end is near");
        assert_eq!(index.ranges(Some("none"), 0), [9_001..=u64::MAX]);
        assert_eq!(index.ranges(Some("acme"), 10_000), [10_000..=u64::MAX]);
        index.add("none", 5);
        assert_eq!(index.ranges(Some("none"), 0), [9_001..=u64::MAX], "it was covered already");
        assert_eq!(index.ranges(None, 0), [3..=3 + GAP, 4_000..=4_000, 9_000..=u64::MAX], "those of all tenants");
        index.forget_before(4_000);
        assert_eq!(index.ranges(Some("acme"), 0), [4_000..=4_000, 9_001..=u64::MAX]);
    }

    #[test]
    fn ranges_are_bounded_and_still_have_every_record() {
        let (index, far) = (LogIndex::of_at_most(10), GAP + 1);
        for nth in 0..100 {
            index.add(["acme", "zeta"][nth as usize % 2], nth * far);
        }
        assert!(index.lock().count <= 10);
        let ranges = index.ranges(Some("acme"), 0);
        assert!((0..100).step_by(2).all(|nth| ranges.iter().any(|range| range.contains(&(nth * far)))));
    }
}
