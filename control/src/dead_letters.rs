//! The dead letters that are alive: read from the log, of which nothing is ever taken away.
//!
//! A delivery has one at most: several records of one delivery are merged to the latest, and a marker ends those
//! before it. The first pass over the log keeps an id and a place each, never a body; the second hands them out.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use broker::{
    Log, Logs, ReadError, Record,
    records::{ReplayMarker, read_dead_letter, read_dead_letter_with_body},
};
use futures_util::{
    StreamExt as _, TryStreamExt as _, future,
    stream::{self, BoxStream},
};
use schemas::DeadLetter;
use uuid::Uuid;

use crate::Filter;

/// The places in the log of some dead letters that are alive.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<BTreeSet<u64>>);

/// Finds what `filter` means: of one tenant, or of all. Reads the log once, up to its present end.
///
/// # Errors
/// When the log cannot be read to its end.
pub async fn find(logs: &dyn Logs, tenant: Option<&str>, filter: &Filter) -> Result<Live, ReadError> {
    let mut live = HashMap::<Uuid, u64>::new();
    let mut records = logs.read(Log::Dead, 0);
    while let Some(record) = records.try_next().await? {
        if ReplayMarker::is_marker(&record) {
            let ended = |marker: &ReplayMarker| live.get(&marker.delivery_id).is_some_and(|at| *at <= marker.offset);
            if let Some(marker) = ReplayMarker::read(&record).filter(ended) {
                live.remove(&marker.delivery_id);
            }
        } else if let Some(letter) = read_dead_letter(&record) {
            // A later record that is not meant hides an earlier one that was.
            if tenant.is_none_or(|tenant| tenant == letter.tenant) && filter.accepts(record.offset, &letter) {
                live.insert(letter.delivery_id, record.offset);
            } else {
                live.remove(&letter.delivery_id);
            }
        }
    }
    Ok(Live(Arc::new(live.into_values().collect())))
}

/// What `filter` means, in the order in which they ended, with their bodies.
///
/// # Errors
/// When the log cannot be read to its end; then, or from the stream.
pub async fn list(
    logs: &dyn Logs,
    tenant: Option<&str>,
    filter: &Filter,
) -> Result<BoxStream<'static, Result<DeadLetter, ReadError>>, ReadError> {
    let records = find(logs, tenant, filter).await?.records(logs, 0);
    Ok(records.try_filter_map(|record| future::ok(read_dead_letter_with_body(&record))).boxed())
}

/// The dead letter of this id with its body, alive or not: of one tenant, or of any. None when there is none.
///
/// # Errors
/// When the log cannot be read.
pub async fn show(logs: &dyn Logs, tenant: Option<&str>, id: &str) -> Result<Option<DeadLetter>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Dead, offset).try_next().await?;
    let record = record.filter(|record| record.offset == offset && !ReplayMarker::is_marker(record));
    let letter = record.as_ref().and_then(read_dead_letter_with_body);
    Ok(letter.filter(|letter| tenant.is_none_or(|tenant| tenant == letter.tenant)))
}

impl Live {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their records, in order, from `offset` on. Reads the log from the first to the last of them.
    pub(crate) fn records(&self, logs: &dyn Logs, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let (Some(first), Some(last)) = (self.0.range(offset..).next().copied(), self.0.last().copied()) else {
            return stream::empty().boxed();
        };
        let live = self.0.clone();
        let upto_last = logs.read(Log::Dead, first).try_take_while(move |record| future::ok(record.offset <= last));
        upto_last.try_filter(move |record| future::ready(live.contains(&record.offset))).boxed()
    }
}
