//! Where each tenant's records are in the log of dead letters, so that a search for one tenant's dead letters reads
//! those parts of the log only.
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
pub(crate) struct DeadLetterIndex(Mutex<Ranges>);

#[derive(Debug)]
struct Ranges {
    /// Offset of the first record that is not covered.
    next: u64,
    /// Most offsets between two records in one range.
    gap: u64,
    count: usize,
    max: usize,
    /// The first and the last offset of each range, in order.
    tenants: HashMap<String, Vec<(u64, u64)>>,
}

impl Default for DeadLetterIndex {
    fn default() -> Self {
        Self::of_at_most(MAX_RANGES)
    }
}

impl DeadLetterIndex {
    fn of_at_most(max: usize) -> Self {
        Self(Mutex::new(Ranges { next: 0, gap: GAP, count: 0, max, tenants: HashMap::new() }))
    }

    /// Adds the tenant's record. Records come in the order of the log; one that is covered already is passed over.
    pub(crate) fn add(&self, tenant: &str, offset: u64) {
        let mut ranges = self.lock();
        if offset < ranges.next {
            return;
        }
        ranges.next = offset + 1;
        let gap = ranges.gap;
        match ranges.tenants.get_mut(tenant) {
            Some(own) => match own.last_mut() {
                Some((_, last)) if offset - *last <= gap => {
                    *last = offset;
                    return;
                }
                _ => own.push((offset, offset)),
            },
            None => _ = ranges.tenants.insert(tenant.to_owned(), vec![(offset, offset)]),
        }
        ranges.count += 1;
        ranges.join_while_too_many();
    }

    /// The offsets from `from` on at which the tenant may have records, in order. The last range has no end.
    pub(crate) fn ranges(&self, tenant: &str, from: u64) -> Vec<RangeInclusive<u64>> {
        let ranges = self.lock();
        let own = ranges.tenants.get(tenant).map_or(&[][..], Vec::as_slice);
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
        ranges.tenants.retain(|_, own| {
            own.retain(|(_, last)| *last >= first);
            own.shrink_to_fit();
            !own.is_empty()
        });
        ranges.count = ranges.tenants.values().map(Vec::len).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranges {
    fn join_while_too_many(&mut self) {
        while self.count > self.max && self.gap < self.next {
            self.gap *= 2;
            let gap = self.gap;
            for own in self.tenants.values_mut() {
                own.dedup_by(|later, earlier| {
                    let is_near = later.0 - earlier.1 <= gap;
                    if is_near {
                        earlier.1 = later.1;
                    }
                    is_near
                });
                own.shrink_to_fit();
            }
            self.count = self.tenants.values().map(Vec::len).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_ranges_have_its_records_and_all_that_is_not_covered() {
        let index = DeadLetterIndex::default();
        assert_eq!(index.ranges("acme", 7), [7..=u64::MAX], "nothing is covered");
        for offset in [3, 4, 3 + GAP, 4_000] {
            index.add("acme", offset);
        }
        index.add("zeta", 9_000);
        assert_eq!(index.ranges("acme", 0), [3..=3 + GAP, 4_000..=4_000, 9_001..=u64::MAX]);
        assert_eq!(index.ranges("acme", 4), [4..=3 + GAP, 4_000..=4_000, 9_001..=u64::MAX]);
        assert_eq!(index.ranges("acme", 4_001), [9_001..=u64::MAX]);
        assert_eq!(index.ranges("zeta", 0), [9_000..=u64::MAX], "the end is near");
        assert_eq!(index.ranges("none", 0), [9_001..=u64::MAX]);
        assert_eq!(index.ranges("acme", 10_000), [10_000..=u64::MAX]);
        index.add("none", 5);
        assert_eq!(index.ranges("none", 0), [9_001..=u64::MAX], "it was covered already");
        index.forget_before(4_000);
        assert_eq!(index.ranges("acme", 0), [4_000..=4_000, 9_001..=u64::MAX]);
    }

    #[test]
    fn ranges_are_bounded_and_still_have_every_record() {
        let (index, far) = (DeadLetterIndex::of_at_most(10), GAP + 1);
        for nth in 0..100 {
            index.add(["acme", "zeta"][nth as usize % 2], nth * far);
        }
        assert!(index.lock().count <= 10);
        let ranges = index.ranges("acme", 0);
        assert!((0..100).step_by(2).all(|nth| ranges.iter().any(|range| range.contains(&(nth * far)))));
    }
}
