//! Which dead letters are alive: the latest record of each delivery, until a marker says that it was replayed.

use std::collections::HashMap;

use broker::{
    Record,
    records::{ReplayMarker, revision},
};
use store::is_older;
use uuid::Uuid;

/// The latest records of deliveries, each with its offset in the log and a value that is kept of it.
#[derive(Debug)]
pub(crate) struct LiveRecords<T>(HashMap<Uuid, (u64, T)>);

impl<T> Default for LiveRecords<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> LiveRecords<T> {
    /// Notes the next record of the log. `read` returns the delivery of a dead letter, and the value to keep; without a
    /// value, the record only replaces an earlier one. The tenant was created at the revision `since`: an event of a
    /// former tenant of its id may have the id of an event of this one.
    pub(crate) fn note(
        &mut self,
        record: &Record,
        since: u64,
        read: impl FnOnce(&Record) -> Option<(Uuid, Option<T>)>,
    ) {
        if ReplayMarker::is_marker(record) {
            if let Some(ReplayMarker { delivery_id, offset, .. }) = ReplayMarker::read(record)
                && self.0.get(&delivery_id).is_some_and(|(at, _)| *at <= offset)
            {
                self.0.remove(&delivery_id);
            }
            return;
        }
        if is_older(revision(record), since) {
            return;
        }
        match read(record) {
            Some((delivery, Some(value))) => _ = self.0.insert(delivery, (record.offset, value)),
            Some((delivery, None)) => _ = self.0.remove(&delivery),
            None => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The offsets and values, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, T)> {
        self.0.values()
    }
}
