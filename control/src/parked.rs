//! What could not be processed, as the log has it.

use broker::{Log, Logs, ReadError, Record, records::read_parked_with_body};
use futures_util::{StreamExt as _, TryStreamExt as _, future::ready, stream::BoxStream};
use schemas::{Parked, wire};

/// All that is parked, in order, with the bodies.
pub fn list(logs: &dyn Logs) -> BoxStream<'static, Result<Parked, ReadError>> {
    records(logs, 0).map_ok(|record| read_parked_with_body(&record)).boxed()
}

/// The records of all that is parked from an offset on; without deliverers' canaries, which the broker itself parks where
/// a way is broken: they are nobody's, and would hide what is somebody's.
pub(crate) fn records(logs: &dyn Logs, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
    let is_somebodys = |record: &Record| ready(record.message.headers.text(wire::CANARY).is_none());
    logs.read(Log::Parked, offset).try_filter(is_somebodys).boxed()
}

/// What is parked under this id, with its body. None when there is none.
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
