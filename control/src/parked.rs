//! Reads and counts the log of parked messages: those that could not be processed.

use std::time::Duration;

use broker::{
    ConnectionState, Log, Logs, ReadError, Record,
    records::{read_parked, read_parked_with_body},
};
use futures_util::{StreamExt as _, TryStreamExt as _, future::ready, stream::BoxStream};
use schemas::{Parked, wire};

use crate::Control;

/// Interval at which new records are counted. An alert on them may be this much late.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Streams all parked messages in order, with their bodies.
pub fn list(logs: &dyn Logs) -> BoxStream<'static, Result<Parked, ReadError>> {
    records(logs, 0).map_ok(|record| read_parked_with_body(&record)).boxed()
}

/// Streams the records of parked messages from an offset on. Canaries are left out: the broker itself parks them where
/// a path is broken, they belong to no tenant, and they would hide the messages of tenants.
pub(crate) fn records(logs: &dyn Logs, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
    let is_no_canary = |record: &Record| ready(record.message.headers.text(wire::CANARY).is_none());
    logs.read(Log::Parked, offset).try_filter(is_no_canary).boxed()
}

/// Returns the parked message of this id with its body.
pub async fn show(logs: &dyn Logs, id: &str) -> Result<Option<Parked>, ReadError> {
    Ok(record(logs, id).await?.as_ref().map(read_parked_with_body))
}

pub(crate) async fn record(logs: &dyn Logs, id: &str) -> Result<Option<Record>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Parked, offset).try_next().await?;
    Ok(record.filter(|record| record.offset == offset))
}

impl Control {
    /// Counts the messages that are parked from now on, until the future is dropped. The broker also parks messages by
    /// itself, which no other process can count. After a failed read, counting continues from the same offset.
    pub async fn watch_parked(&self) {
        let (mut next, mut connection) = (None, self.deps.broker.connection_state());
        loop {
            // The first read fixes the offset to count from, so it waits until the broker is connected.
            if connection.wait_for(|state| !matches!(state, ConnectionState::Away(_))).await.is_err() {
                return;
            }
            if let Err(error) = self.count_parked(&mut next).await {
                tracing::debug!(%error, "parked.not_counted");
            }
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    }

    /// Counts from `next` to the present end of the log. The first call only finds the end.
    async fn count_parked(&self, next: &mut Option<u64>) -> Result<(), ReadError> {
        let logs = &self.deps.broker;
        let Some(next) = next else {
            *next = Some(logs.end(Log::Parked).await?);
            return Ok(());
        };
        let mut records = logs.read(Log::Parked, *next);
        while let Some(record) = records.try_next().await? {
            *next = record.offset + 1;
            let reason = read_parked(&record).reason;
            self.metrics.park_log.with_label_values(&[reason.as_str()]).inc();
        }
        Ok(())
    }
}
