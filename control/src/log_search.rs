//! Searches for the live records of a log, from which nothing is ever deleted: a dead letter lives until it is replayed
//! or discarded, a parked message until it is published again.
//!
//! What comes after a record decides whether it is alive: a later record of its key replaces it, and a marker ends it. So
//! a search reads the log from its end backwards, one piece after the other, and knows the newest records soon. It keeps
//! a key and an offset of what it has read, and never a body.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::{Deref, RangeInclusive},
    sync::Arc,
};

use broker::{Log, Logs, ReadError, Record};
use futures_util::{
    StreamExt as _, TryStreamExt as _, future,
    stream::{self, BoxStream},
};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    Control, NotStarted,
    log_index::{GAP, LogIndex},
    recent_searches::RecentSearches,
    tenant_semaphore::TenantPermit,
};

/// Offsets of the first piece of a search: reading from another place costs about as much. Each further piece is twice as
/// long.
const FIRST_PIECE: u64 = GAP;
/// Most offsets of a piece with records, so that a page waits for few records that it does not need.
const LONGEST_PIECE: u64 = 20 * GAP;
/// A piece after one without any record is longer by this factor: such a piece is read fast.
const AFTER_NOTHING: u64 = 8;

/// Which records of a log are searched for.
pub(crate) trait LogFilter: Clone + PartialEq + Send + Sync {
    const LOG: Log;

    /// The tenant whose parts of the log are read. None for all of it.
    fn tenant(&self) -> Option<&str>;

    /// Offset before which there is nothing to find.
    fn floor(&self) -> u64;

    fn read(&self, record: &Record) -> LogEntry;
}

/// What a record of a log means to a search.
pub(crate) enum LogEntry {
    /// It replaces earlier records of its key. Without an origin it is not searched for.
    Record(RecordKey, Option<Origin>),
    /// A marker, which ends the records of a key up to an offset.
    End(RecordKey, u64),
    Nothing,
}

/// What has at most one live record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecordKey {
    /// A delivery.
    Delivery(Uuid),
    /// A record that holds no delivery, by its own offset.
    Record(u64),
}

/// What records are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) tenant: String,
    /// Empty for what is no delivery.
    pub(crate) endpoint_id: String,
    pub(crate) reason: &'static str,
}

/// A search for the live records that a filter selects. It can go on later from where it is.
#[derive(Debug)]
pub(crate) struct Search<F> {
    filter: F,
    /// Of each key, the latest record or marker that was read.
    latest: HashMap<RecordKey, Latest>,
    /// The origins of the live records that were found, by offset. Equal ones are one.
    live: BTreeMap<u64, Arc<Origin>>,
    origins: BTreeSet<Arc<Origin>>,
    /// What was read of the log. None before the first read.
    span: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    /// That of the record, or up to which the marker ends records.
    offset: u64,
    is_marker: bool,
}

/// All offsets from `begin` up to `next` were read.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: u64,
    next: u64,
    /// Offsets of the next piece before `begin`.
    step: u64,
    /// The piece before `begin` that is being read.
    piece: Option<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    begin: u64,
    /// Offset of the first record that was not read yet.
    next: u64,
    has_records: bool,
}

impl<F: LogFilter> Search<F> {
    pub(crate) fn new(filter: F) -> Self {
        Self { filter, latest: HashMap::new(), live: BTreeMap::new(), origins: BTreeSet::new(), span: None }
    }

    /// Number of records and markers that are kept.
    pub(crate) fn len(&self) -> usize {
        self.latest.len()
    }

    /// True when every record from `offset` on was read.
    pub(crate) fn has_read(&self, offset: u64) -> bool {
        self.span.is_some_and(|span| span.begin <= offset.max(self.filter.floor()))
    }

    /// True when everything was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.has_read(0)
    }

    /// Offset after the last record that was read. None before the first read.
    pub(crate) fn end(&self) -> Option<u64> {
        self.span.map(|span| span.next)
    }

    /// The live records that were found, in the order of the log.
    pub(crate) fn live(&self) -> &BTreeMap<u64, Arc<Origin>> {
        &self.live
    }

    /// Reads what is new, and then on towards the beginning of the log, until `is_enough` or everything was read. One
    /// that is dropped or fails on the way has kept what it has read.
    pub(crate) async fn read(
        &mut self,
        logs: &dyn Logs,
        index: &LogIndex,
        is_enough: impl Fn(&Self) -> bool,
    ) -> Result<(), ReadError> {
        if self.span.is_some() {
            self.read_newer(logs, index).await?;
        } else {
            let end = logs.end(F::LOG).await?;
            self.span = Some(Span { begin: end, next: end, step: FIRST_PIECE, piece: None });
        }
        while !self.is_whole() && !is_enough(self) {
            self.read_older(logs, index).await?;
        }
        if self.is_whole() && self.latest.len() > self.live.len() {
            // No earlier record can come that these would replace or end.
            let live = &self.live;
            self.latest.retain(|_, latest| !latest.is_marker && live.contains_key(&latest.offset));
        }
        Ok(())
    }

    async fn read_newer(&mut self, logs: &dyn Logs, index: &LogIndex) -> Result<(), ReadError> {
        let next = self.span.map_or(0, |span| span.next);
        let ranges = index.ranges(self.filter.tenant(), next);
        let mut records = read_ranges(logs, F::LOG, ranges);
        while let Some(record) = records.try_next().await? {
            self.note(&record);
            if let Some(span) = &mut self.span {
                span.next = record.offset + 1;
            }
        }
        Ok(())
    }

    /// Reads the piece before what was read, or the rest of it.
    async fn read_older(&mut self, logs: &dyn Logs, index: &LogIndex) -> Result<(), ReadError> {
        let Some(span) = self.span else { return Ok(()) };
        let floor = self.filter.floor();
        let before = |from| cut_at(index.ranges(self.filter.tenant(), from), span.begin);
        let piece = span.piece.unwrap_or_else(|| {
            let begin = begin_of_piece(&before(floor), span.step).unwrap_or(floor);
            Piece { begin, next: begin, has_records: false }
        });
        let mut records = read_ranges(logs, F::LOG, before(piece.next));
        self.set_piece(piece);
        while let Some(record) = records.try_next().await? {
            self.note(&record);
            self.set_piece(Piece { next: record.offset + 1, has_records: true, ..piece });
        }
        if let Some(span) = &mut self.span {
            let has_records = span.piece.take().is_some_and(|piece| piece.has_records);
            span.begin = piece.begin;
            span.step = match has_records {
                true => span.step.saturating_mul(2).min(LONGEST_PIECE),
                false => span.step.saturating_mul(AFTER_NOTHING),
            };
        }
        Ok(())
    }

    fn set_piece(&mut self, piece: Piece) {
        if let Some(span) = &mut self.span {
            span.piece = Some(piece);
        }
    }

    /// Notes a record. They may come in any order, and one may come again.
    fn note(&mut self, record: &Record) {
        let (key, offset, origin, is_marker) = match self.filter.read(record) {
            LogEntry::Record(key, origin) => (key, record.offset, origin, false),
            LogEntry::End(key, offset) => (key, offset, None, true),
            LogEntry::Nothing => return,
        };
        let before = self.latest.get(&key).copied();
        let is_later = before.is_none_or(|before| match offset == before.offset {
            true => is_marker && !before.is_marker,
            false => offset > before.offset,
        });
        if !is_later {
            return;
        }
        if let Some(before) = before.filter(|before| !before.is_marker) {
            self.live.remove(&before.offset);
        }
        self.latest.insert(key, Latest { offset, is_marker });
        if let Some(origin) = origin {
            let origin = self.shared(origin);
            self.live.insert(offset, origin);
        }
    }

    /// The copy of an origin that all share.
    fn shared(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.origins.get(&origin) {
            return known.clone();
        }
        let origin = Arc::new(origin);
        self.origins.insert(origin.clone());
        origin
    }

    /// The deliveries of the live records, by offset.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = (u64, Uuid, &Origin)> {
        self.latest.iter().filter_map(|(key, latest)| match key {
            RecordKey::Delivery(id) if !latest.is_marker => {
                Some((latest.offset, *id, &**self.live.get(&latest.offset)?))
            }
            _ => None,
        })
    }
}

/// The parts of ranges before `end`.
fn cut_at(ranges: Vec<RangeInclusive<u64>>, end: u64) -> Vec<RangeInclusive<u64>> {
    let before = ranges.into_iter().take_while(|range| *range.start() < end);
    before.map(|range| *range.start()..=*range.end().min(&(end - 1))).collect()
}

/// The offset from which on the ranges have `wanted` offsets. None where they have no more than these.
fn begin_of_piece(ranges: &[RangeInclusive<u64>], wanted: u64) -> Option<u64> {
    let mut left = wanted;
    for range in ranges.iter().rev() {
        let length = range.end() - range.start() + 1;
        if length > left {
            return Some(range.end() - left + 1);
        }
        left -= length;
    }
    None
}

/// Streams the records within ranges of offsets, which are read one after the other.
pub(crate) fn read_ranges(
    logs: &dyn Logs,
    log: Log,
    ranges: Vec<RangeInclusive<u64>>,
) -> BoxStream<'_, Result<Record, ReadError>> {
    let read = move |range: RangeInclusive<u64>| {
        logs.read(log, *range.start()).try_take_while(move |record| future::ok(record.offset <= *range.end()))
    };
    stream::iter(ranges).map(read).flatten().boxed()
}

/// Streams the records at these offsets, which rise. Of the log, it reads the parts that have some of them.
pub(crate) fn read_offsets(logs: &dyn Logs, log: Log, offsets: Vec<u64>) -> BoxStream<'_, Result<Record, ReadError>> {
    let near = offsets.chunk_by(|one, next| next - one <= GAP);
    let ranges = near.filter_map(|near| Some(*near.first()?..=*near.last()?)).collect();
    let is_wanted = move |record: &Record| offsets.binary_search(&record.offset).is_ok();
    read_ranges(logs, log, ranges).try_filter(move |record| future::ready(is_wanted(record))).boxed()
}

/// A search that nobody else changes, and the right to make it.
pub(crate) struct Searched<F> {
    search: OwnedMutexGuard<Search<F>>,
    _permit: TenantPermit,
}

impl<F> Deref for Searched<F> {
    type Target = Search<F>;

    fn deref(&self) -> &Search<F> {
        &self.search
    }
}

impl Control {
    /// Searches a log from where the last search of this filter was, until `is_enough`, everything was read or the time
    /// is over: then with false. `whose` names what may be searched once at a time.
    pub(crate) async fn search_log<F: LogFilter>(
        &self,
        (whose, searches, index): (&str, &RecentSearches<F>, &LogIndex),
        filter: F,
        until: Instant,
        is_enough: impl Fn(&Search<F>) -> bool,
    ) -> Result<(Searched<F>, bool), NotStarted> {
        let permit = self.log_searches.try_acquire(whose).ok_or(NotStarted::Busy)?;
        let mut search = searches.get(whose, filter, (self.deps.clock)()).lock_owned().await;
        let logs = self.logs_in_turns();
        let is_done = match timeout_at(until, search.read(&logs, index, is_enough)).await {
            Ok(read) => read.map(|()| true)?,
            Err(_) => false,
        };
        Ok((Searched { search, _permit: permit }, is_done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_the_last_offsets_of_the_ranges() {
        let ranges = cut_at(vec![0..=9, 100..=109, 200..=u64::MAX], 205);
        assert_eq!(ranges, [0..=9, 100..=109, 200..=204]);
        for (wanted, begin) in [(1, Some(204)), (4, Some(201)), (6, Some(109)), (14, Some(101)), (24, Some(1))] {
            assert_eq!(begin_of_piece(&ranges, wanted), begin, "{wanted}");
        }
        assert_eq!([begin_of_piece(&ranges, 25), begin_of_piece(&ranges, 26)], [None, None]);
        assert_eq!(cut_at(vec![7..=9], 7), []);
    }
}
