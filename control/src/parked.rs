//! What could not be processed, as the log has it.

use broker::{Log, Logs, Message, ReadError, Record, Target};
use futures_util::{StreamExt as _, TryStreamExt as _, future::ready, stream::BoxStream};
use schemas::{ParkReason, Parked, body_as_json, tenant_of, wire};

/// All that is parked, in order, with the bodies.
pub fn list(logs: &dyn Logs) -> BoxStream<'static, Result<Parked, ReadError>> {
    records(logs, 0).map_ok(|record| read(&record)).boxed()
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
    Ok(record(logs, id).await?.as_ref().map(read))
}

/// The record of this id.
pub(crate) async fn record(logs: &dyn Logs, id: &str) -> Result<Option<Record>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Parked, offset).try_next().await?;
    Ok(record.filter(|record| record.offset == offset))
}

/// What is parked, as it was before, and where to: it is routed anew, as the same event.
///
/// # Errors
/// Why that cannot be.
pub(crate) fn again(record: &Record) -> Result<(Target, Message), &'static str> {
    let Parked { routing_key, detail, .. } = read(record);
    if detail.is_some_and(|detail| detail.ends_with("are kept")) {
        return Err("only its beginning was kept");
    }
    let key = routing_key.filter(|key| key.split('.').count() == 5);
    let key = key.ok_or("it came with no routing key of an event, so nobody knows where to")?;
    let mut message = record.message.clone();
    // What it was parked for, and that it was a suspect, is over.
    for header in [wire::RECORD, wire::GUARDED] {
        message.headers.remove(header);
    }
    Ok((Target::Ingest { key }, message))
}

pub(crate) fn read(record: &Record) -> Parked {
    Parked { id: record.offset.to_string(), body: body_as_json(&record.message.body), ..described(record) }
}

/// Without its place and its body.
pub(crate) fn described(record: &Record) -> Parked {
    let ours = record.message.headers.text(wire::RECORD).and_then(|json| serde_json::from_str(json).ok());
    ours.unwrap_or_else(|| undescribed(record))
}

/// Parked by the broker itself, which writes no record: handed out too often, or bound for no queue. Nobody noted when.
fn undescribed(record: &Record) -> Parked {
    let headers = &record.message.headers;
    let limit = ParkReason::DeliveryLimit;
    let (reason, routing_key) = match record.key.split_once('.') {
        Some((reason, tenant)) if reason == limit.as_str() && !tenant.contains('.') => (limit, None),
        _ if headers.text(LAST_DEATH) == Some(limit.as_str()) => (limit, Some(record.key.clone())),
        _ => (ParkReason::Unroutable, Some(record.key.clone())),
    };
    let by_key = || routing_key.as_deref().filter(|key| key.split('.').count() == 5).and_then(tenant_of);
    Parked {
        id: String::new(),
        reason,
        detail: None,
        tenant: headers.text(wire::TENANT).map(str::to_owned).or_else(by_key),
        event_id: Some(record.message.id.clone()).filter(|id| !id.is_empty()),
        routing_key,
        parked_at: None,
        body: None,
    }
}

/// Where a broker with dead-letter exchanges shows why a message was dead-lettered last.
const LAST_DEATH: &str = "x-last-death-reason";
