//! The log of what is parked: messages that could not be processed.

use std::time::Duration;

use broker::{
    ConnectionState, Log, Logs, ReadError, Record,
    records::{read_parked, read_parked_with_body},
};
use futures_util::{StreamExt as _, TryStreamExt as _, future::ready, stream::BoxStream};
use schemas::{Parked, wire};

use crate::Control;

/// How often new records are counted. An alert on them may be this much late.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// All that is parked, in order, with the bodies.
pub fn list(logs: &dyn Logs) -> BoxStream<'static, Result<Parked, ReadError>> {
    records(logs, 0).map_ok(|record| read_parked_with_body(&record)).boxed()
}

/// The records of all that is parked, from an offset on. Canaries are left out: the broker parks them itself where a path
/// is broken, they belong to no tenant, and they would hide what does.
pub(crate) fn records(logs: &dyn Logs, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
    let is_no_canary = |record: &Record| ready(record.message.headers.text(wire::CANARY).is_none());
    logs.read(Log::Parked, offset).try_filter(is_no_canary).boxed()
}

/// What is parked under this id, with its body. None when there is nothing.
///
/// # Errors
/// When the log cannot be read.
pub async fn show(logs: &dyn Logs, id: &str) -> Result<Option<Parked>, ReadError> {
    Ok(record(logs, id).await?.as_ref().map(read_parked_with_body))
}

/// The record of this id.
pub(crate) async fn record(logs: &dyn Logs, id: &str) -> Result<Option<Record>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Parked, offset).try_next().await?;
    Ok(record.filter(|record| record.offset == offset))
}

impl Control {
    /// Counts what is parked from now on, until the future is dropped. The broker parks messages itself, and no other
    /// process can count those. When the log cannot be read, counting goes on later from the same offset.
    pub async fn watch_parked(&self) {
        let (mut next, mut connection) = (None, self.deps.broker.connection_state());
        loop {
            // The first read fixes the offset to count from. It must not fail because the connection is still being made.
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
