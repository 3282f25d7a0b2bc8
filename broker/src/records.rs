//! The records of the two logs: what is kept of a delivery that ended without a 2xx, and of a message that we could not
//! process. They are written and read here and nowhere else.
//!
//! A record travels in the header `carteiro-record`: all its fields but the body, as JSON. The body is the message's, so
//! that a delivery or an event can be published again as it was.

use bytes::Bytes;
use schemas::{
    DeadLetter, Delivery, HeaderValue, Headers, Message, ParkReason, Parked, body_as_json, tenant_of, time::rfc3339,
    wire,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Log, Target};

/// A message in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log: unique, rising, kept for ever.
    pub offset: u64,
    /// The key it was appended with, `<reason>.<tenant>`.
    pub key: String,
    /// The message.
    pub message: Message,
}

/// The record of a delivery that ended, ready to be published. Without `body` where the letter says that it is withheld.
pub fn dead_letter(letter: &DeadLetter, delivery: &Delivery, body: Bytes) -> (Target, Message) {
    let mut message = delivery.to_message(if letter.body_withheld { Bytes::new() } else { body });
    message.headers.set(wire::RECORD, HeaderValue::Text(json(letter).into()));
    (Target::Log(Log::Dead, letter.key()), message)
}

/// Reads the dead letter of a record, with its offset for an id, and without its body. None when it is none of ours.
pub fn read_dead_letter(record: &Record) -> Option<DeadLetter> {
    let letter = serde_json::from_str::<DeadLetter>(record.message.headers.text(wire::RECORD)?).ok()?;
    Some(DeadLetter { id: record.offset.to_string(), body: None, ..letter })
}

/// Reads the dead letter of a record with its body, where that was kept.
pub fn read_dead_letter_with_body(record: &Record) -> Option<DeadLetter> {
    let body = Some(&record.message.body).filter(|body| !body.is_empty());
    Some(DeadLetter { body: body.and_then(|body| body_as_json(body)), ..read_dead_letter(record)? })
}

/// The key of a marker begins with this, and that of a dead letter with its reason: no reason is called so.
const REPLAYED_KEY: &str = "replayed.";

/// A marker in the log of dead letters: this delivery was published again. It ends the delivery's dead letters up to
/// `offset` and no later one, since the delivery may have died again before the marker was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The delivery's id.
    #[serde(rename = "replayed")]
    pub delivery_id: Uuid,
    /// The offset of its dead letter.
    pub offset: u64,
    /// The replay's id.
    pub job: String,
    /// RFC 3339.
    pub at: String,
}

impl Replayed {
    /// True when a record is a marker; its key says so.
    pub fn is_marker(record: &Record) -> bool {
        record.key.starts_with(REPLAYED_KEY)
    }

    /// Reads a marker. One that cannot be read ends nothing, and is none.
    pub fn read(record: &Record) -> Option<Self> {
        serde_json::from_str(record.message.headers.text(wire::RECORD)?).ok()
    }

    /// The marker of a delivery that was replayed from its dead letter at `offset`, ready to be published. `now` is unix ms.
    pub fn of(delivery: &Delivery, offset: u64, job: &str, now: u64) -> (Target, Message) {
        let marker = Self { delivery_id: delivery.id, offset, job: job.to_owned(), at: rfc3339(now) };
        let mut headers = Headers::default();
        headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
        headers.set(wire::TENANT, HeaderValue::Text(delivery.tenant.as_str().into()));
        headers.set(wire::RECORD, HeaderValue::Text(json(&marker).into()));
        let (id, kind) = (delivery.event_id.to_string(), delivery.event_type.to_string());
        let to = Target::Log(Log::Dead, format!("{REPLAYED_KEY}{}", delivery.tenant));
        (to, Message { id, kind, headers, body: Bytes::new() })
    }
}

/// The record of a message that is parked, ready to be published: `message` as it is kept, and why.
pub fn parked(parked: &Parked, mut message: Message) -> (Target, Message) {
    message.headers.set(wire::RECORD, HeaderValue::Text(json(parked).into()));
    (Target::Log(Log::Parked, parked.key()), message)
}

/// Reads what a record says of a parked message, without its offset and its body.
pub fn read_parked(record: &Record) -> Parked {
    let ours = record.message.headers.text(wire::RECORD).and_then(|json| serde_json::from_str(json).ok());
    ours.unwrap_or_else(|| parked_by_the_broker(record))
}

/// Reads what a record says of a parked message, with its offset for an id and with its body.
pub fn read_parked_with_body(record: &Record) -> Parked {
    Parked { id: record.offset.to_string(), body: body_as_json(&record.message.body), ..read_parked(record) }
}

/// The header in which a broker with dead-letter exchanges says why it dead-lettered a message last.
const LAST_DEATH: &str = "x-last-death-reason";

/// What is known of a message that the broker parked itself, because it was handed out too often or bound for no queue:
/// the broker writes no record, and nobody noted when.
fn parked_by_the_broker(record: &Record) -> Parked {
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

/// The event that a parked message was, and where to publish it, so that it is routed anew as the same event.
///
/// # Errors
/// Why that cannot be.
pub fn requeued(record: &Record) -> Result<(Target, Message), &'static str> {
    let Parked { routing_key, detail, .. } = read_parked(record);
    if detail.is_some_and(|detail| detail.ends_with("are kept")) {
        return Err("only its beginning was kept");
    }
    let key = routing_key.filter(|key| key.split('.').count() == 5);
    let key = key.ok_or("it came with no routing key of an event, so nobody knows where to")?;
    let mut message = record.message.clone();
    message.headers.remove(wire::RECORD);
    Ok((Target::Ingest { key }, message))
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
