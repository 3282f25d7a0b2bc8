//! Whose records fill a log, and how much more of it each tenant may use.
//!
//! A log is one stream, of which the oldest records are deleted: whatever a tenant appends pushes out what others
//! appended before. So a record counts for as long as it is in the log, also a dead letter that was replayed. What came
//! before the first record of another tenant that is still needed pushes out nobody's, and does not count.
//!
//! Bytes are summed by tenant and segment of the log, and of a single record one byte of memory is kept: whether it is
//! needed. Ten million records of ten thousand tenants take some 30 MB.

use std::{
    collections::{HashMap, VecDeque},
    ops::{AddAssign, SubAssign},
    sync::Arc,
};

use schemas::{DeadLetterRetention, RetentionLevels};

/// Segments of a full log.
const SEGMENTS: u64 = 32;
/// Most records of a segment.
const MAX_RECORDS: u64 = 1 << 20;
/// The part of a log that is left to every tenant, however full the log is, is one of so many.
const LEAST_PART: u64 = 100;

/// The part of a log that one process may fill for one tenant between two announcements is one of so many.
const ALLOWANCE_PART: u64 = 32;
/// As [`ALLOWANCE_PART`], for a tenant that is alone in the log. Another one may come at any time.
const ALLOWANCE_PART_ALONE: u64 = 4;

/// What a tenant has in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantUse {
    /// Bytes of all its records.
    pub(crate) bytes: u64,
    /// Those of the letters among them that came back from a replay.
    pub(crate) came_back: u64,
    /// Records that nothing has ended.
    pub(crate) alive: u64,
    /// Those of them that have their bodies.
    pub(crate) whole: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    /// A marker, or a record that one has ended.
    Ended,
    WithoutBody,
    Whole,
    /// It is whole, and came back from a replay.
    CameBack,
}

/// The records of a log, as far as they were read.
#[derive(Debug)]
pub(crate) struct LogUse {
    /// Bytes that the log keeps at most.
    capacity: u64,
    segments: VecDeque<Segment>,
    tenants: HashMap<Arc<str>, TenantUse>,
}

#[derive(Debug)]
struct Segment {
    /// Offset of the first record.
    first: u64,
    bytes: u64,
    /// The state of each record, in the order of offsets.
    states: Vec<RecordState>,
    tenants: HashMap<Arc<str>, TenantUse>,
}

/// How much of the log a tenant has used of what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Bytes that it has used.
    pub(crate) used: u64,
    /// Those of the letters among them that came back from a replay.
    pub(crate) came_back: u64,
    /// Bytes up to which its records keep their bodies.
    pub(crate) most: u64,
}

/// The shares of all tenants, as the log is now.
#[derive(Debug)]
pub(crate) struct Shares<'a> {
    log: &'a LogUse,
    /// The only tenant with records that are needed before `contested`.
    first_tenant: Option<&'a str>,
    /// Index of the first segment in which it has some.
    needed: usize,
    /// Index of the first segment in which another tenant has some.
    contested: usize,
    /// Bytes that can still be appended before the first of these is deleted.
    free: u64,
}

impl LogUse {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, segments: VecDeque::new(), tenants: HashMap::new() }
    }

    /// Adds the next record. Records come in the order of offsets. One without a tenant takes room, and is nobody's.
    pub(crate) fn add(&mut self, offset: u64, tenant: Option<&str>, bytes: u64, state: RecordState) {
        let is_full =
            |last: &Segment| last.bytes >= self.capacity / SEGMENTS || offset.saturating_sub(last.first) >= MAX_RECORDS;
        if self.segments.back().is_none_or(is_full) {
            self.segments.push_back(Segment { first: offset, bytes: 0, states: Vec::new(), tenants: HashMap::new() });
        }
        let Some(segment) = self.segments.back_mut() else { return };
        segment.bytes += bytes;
        segment.states.resize(usize::try_from(offset - segment.first).unwrap_or_default(), RecordState::Ended);
        let Some(tenant) = tenant else { return segment.states.push(RecordState::Ended) };
        segment.states.push(state);
        let name = self.tenants.get_key_value(tenant).map_or_else(|| Arc::from(tenant), |(name, _)| name.clone());
        let came_back = if state == RecordState::CameBack { bytes } else { 0 };
        let more = TenantUse { bytes, came_back, ..TenantUse::of(state) };
        *segment.tenants.entry(name.clone()).or_default() += more;
        *self.tenants.entry(name).or_default() += more;
    }

    /// Notes that the tenant's record at this offset is not needed any more.
    pub(crate) fn end(&mut self, offset: u64, tenant: &str) {
        let after = self.segments.partition_point(|segment| segment.first <= offset);
        let Some(segment) = after.checked_sub(1).and_then(|at| self.segments.get_mut(at)) else { return };
        let index = usize::try_from(offset - segment.first).unwrap_or(usize::MAX);
        if let (Some(state), Some(in_segment), Some(in_all)) =
            (segment.states.get_mut(index), segment.tenants.get_mut(tenant), self.tenants.get_mut(tenant))
        {
            let ended = TenantUse::of(std::mem::replace(state, RecordState::Ended));
            *in_segment -= ended;
            *in_all -= ended;
        }
    }

    /// Forgets segments that the log has deleted: those whose records are all before `first`.
    pub(crate) fn forget_before(&mut self, first: u64) {
        while self.segments.get(1).is_some_and(|next| next.first <= first) {
            for (tenant, less) in self.segments.pop_front().into_iter().flat_map(|deleted| deleted.tenants) {
                if let Some(used) = self.tenants.get_mut(&tenant) {
                    *used -= less;
                }
            }
        }
        self.tenants.retain(|_, used| *used != TenantUse::default());
    }

    /// Forgets whose the records of a tenant are. They still take room.
    pub(crate) fn forget_tenant(&mut self, tenant: &str) {
        self.tenants.remove(tenant);
        for segment in &mut self.segments {
            segment.tenants.remove(tenant);
        }
    }

    /// Bytes that one process may keep of a tenant between two announcements.
    pub(crate) fn allowance(&self) -> u64 {
        self.capacity / ALLOWANCE_PART
    }

    /// What each tenant with records has.
    pub(crate) fn tenants(&self) -> &HashMap<Arc<str>, TenantUse> {
        &self.tenants
    }

    pub(crate) fn of(&self, tenant: &str) -> TenantUse {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    pub(crate) fn shares(&self) -> Shares<'_> {
        let (mut first_tenant, mut contested) = (None, 0);
        for segment in &self.segments {
            let needed = segment.tenants.iter().filter(|(_, used)| used.whole > 0);
            if needed.into_iter().any(|(tenant, _)| &**tenant != *first_tenant.get_or_insert(&**tenant)) {
                break;
            }
            contested += 1;
        }
        let needs_any = |segment: &Segment| segment.tenants.values().any(|used| used.whole > 0);
        let needed = self.segments.iter().position(needs_any).unwrap_or(contested);
        // What the first tenant appended before others came pushes out nobody's but its own.
        let own = |segment: &Segment| {
            first_tenant.and_then(|first| segment.tenants.get(first)).map_or(0, |used: &TenantUse| used.bytes)
        };
        let of_others =
            self.segments.range(needed..contested).map(|segment| segment.bytes.saturating_sub(own(segment)));
        let bytes: u64 = of_others.chain(self.segments.range(contested..).map(|segment| segment.bytes)).sum();
        Shares { log: self, first_tenant, needed, contested, free: self.capacity.saturating_sub(bytes) }
    }
}

impl Shares<'_> {
    /// The share of a tenant, `quota` bytes if it has a quota. None for a tenant that is alone in the log and may use all
    /// of it.
    ///
    /// By default it is half of what is free: one tenant gets a third of the log, the next one two ninths, and so on, and
    /// all that is in the log stays. Every tenant has at least a hundredth.
    pub(crate) fn of(&self, tenant: &str, quota: Option<u64>) -> Option<Share> {
        let log = self.log;
        if let Some(most) = quota {
            return Some(log.of(tenant).share(most));
        }
        let is_alone = self.contested == log.segments.len() && self.first_tenant.is_none_or(|first| first == tenant);
        // What others append counts also where replays have ended all of it.
        let from = if self.first_tenant == Some(tenant) { self.contested } else { self.needed };
        let mut used = TenantUse::default();
        log.segments.range(from..).filter_map(|segment| segment.tenants.get(tenant)).for_each(|part| used += *part);
        (!is_alone).then(|| used.share((self.free / 2).max(self.least())))
    }

    /// The least share of any tenant.
    pub(crate) fn least(&self) -> u64 {
        self.log.capacity / LEAST_PART
    }

    /// Levels at which everything is kept, up to the allowance.
    pub(crate) fn levels(&self) -> RetentionLevels {
        RetentionLevels { allowance: Some(self.allowance()), ..RetentionLevels::default() }
    }

    /// The allowance of a tenant that has none of its own. A log without a needed record has room for anyone's.
    fn allowance(&self) -> u64 {
        self.first_tenant.map_or(self.log.capacity / ALLOWANCE_PART_ALONE, |_| self.log.allowance())
    }

    /// Adds a tenant's level, and its allowance where that is another one. `at_least` is how much is to be left out in any
    /// case.
    pub(crate) fn add_level(
        &self,
        levels: &mut RetentionLevels,
        tenant: &str,
        share: Option<Share>,
        at_least: DeadLetterRetention,
    ) {
        let level = share.map_or(at_least, |share| at_least.max(share.retention()));
        let alone = self.log.capacity / ALLOWANCE_PART_ALONE;
        let allowance = share.map_or(alone, |share| share.left().min(self.allowance()));
        if level != DeadLetterRetention::Bodies {
            levels.by_tenant.insert(tenant.to_owned(), level);
        } else if allowance != self.allowance() {
            levels.allowances.insert(tenant.to_owned(), allowance);
        }
    }
}

impl Share {
    pub(crate) fn retention(self) -> DeadLetterRetention {
        DeadLetterRetention::of_bytes(self.used, self.most)
    }

    /// Bytes that may still be kept with their bodies.
    pub(crate) fn left(self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

impl TenantUse {
    /// A record of this state, without its bytes.
    fn of(state: RecordState) -> Self {
        let is_whole = matches!(state, RecordState::Whole | RecordState::CameBack);
        let [alive, whole] = [state != RecordState::Ended, is_whole].map(u64::from);
        Self { alive, whole, ..Self::default() }
    }

    fn share(self, most: u64) -> Share {
        Share { used: self.bytes, came_back: self.came_back, most }
    }
}

impl AddAssign for TenantUse {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.came_back += more.came_back;
        self.alive += more.alive;
        self.whole += more.whole;
    }
}

impl SubAssign for TenantUse {
    fn sub_assign(&mut self, less: Self) {
        self.bytes = self.bytes.saturating_sub(less.bytes);
        self.came_back = self.came_back.saturating_sub(less.came_back);
        self.alive = self.alive.saturating_sub(less.alive);
        self.whole = self.whole.saturating_sub(less.whole);
    }
}

#[cfg(test)]
mod tests;
