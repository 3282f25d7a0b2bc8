//! The records of the two logs: deliveries that ended without a 2xx answer, and messages that could not be processed.
//! Only this file writes and reads them.
//!
//! A record travels in the header `carteiro-record`, as JSON without the body. The body is that of the message, so that
//! a delivery or an event can be published again unchanged.

use bytes::Bytes;
use schemas::{
    DeadLetter, DeadReason, Delivery, HeaderValue, Headers, MAX_TENANT_BYTES, Message, ParkReason, Parked,
    body_as_json, hex, tenant_of,
    time::{rfc3339, unix_ms},
    wire,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Broker, Deadline, Lane, Log, PublishError, Target, publish_until_confirmed, rabbitmq};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the log: unique, rising, and never given to another record.
    pub offset: u64,
    /// Key that the record was appended with, `<reason>.<tenant>`.
    pub key: String,
    pub message: Message,
}

/// The tenant in the key of a record, `<reason>.<tenant>`.
pub(crate) fn tenant_of_key(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, tenant)| tenant)
}

/// The record of a dead letter, without the body where that is withheld.
pub fn dead_letter(dead_letter: &DeadLetter, delivery: &Delivery, body: Bytes) -> (Target, Message) {
    let mut message = delivery.to_message(if dead_letter.body_withheld { Bytes::new() } else { body });
    message.headers.set(wire::RECORD, HeaderValue::Text(json(dead_letter).into()));
    (Target::Log(Log::Dead, dead_letter.key()), message)
}

/// The record of a delivery that the broker takes no more for its size, while it waits for its next attempt. `None` for a
/// message that holds no delivery.
pub(crate) fn too_large(message: &Message, now: u64) -> Option<(DeadLetter, Target, Message)> {
    let delivery = Delivery::from_message(message).ok()?;
    let letter = DeadLetter::without_attempt(&delivery, DeadReason::TooLarge, now).without_body();
    let (to, message) = dead_letter(&letter, &delivery, Bytes::new());
    Some((letter, to, message))
}

/// Reads a dead letter without its body. Its id is the record's offset. `None` for a record that holds none.
pub fn read_dead_letter(record: &Record) -> Option<DeadLetter> {
    let letter = serde_json::from_str::<DeadLetter>(record.message.headers.text(wire::RECORD)?).ok()?;
    let replay_id = record.message.headers.text(wire::REPLAY).map(str::to_owned);
    Some(DeadLetter { id: record.offset.to_string(), replay_id, body: None, ..letter })
}

/// Time at which the delivery of a dead letter ended, in unix milliseconds. Reads nothing else of the record.
pub fn dead_at(record: &Record) -> Option<u64> {
    #[derive(Deserialize)]
    struct Ended<'a> {
        dead_at: &'a str,
    }
    let Ended { dead_at } = serde_json::from_str(record.message.headers.text(wire::RECORD)?).ok()?;
    unix_ms(dead_at)
}

pub fn read_dead_letter_with_body(record: &Record) -> Option<DeadLetter> {
    let body = Some(&record.message.body).filter(|body| !body.is_empty());
    Some(DeadLetter { body: body.and_then(|body| body_as_json(body)), ..read_dead_letter(record)? })
}

/// The revision in which the delivery of a dead letter was made; 0 where it cannot be compared.
pub fn revision(record: &Record) -> u64 {
    record.message.headers.int(wire::REVISION).and_then(|revision| u64::try_from(revision).ok()).unwrap_or_default()
}

/// Beginning of a replay marker's key. A dead letter's key begins with its reason, and no reason has this name.
const REPLAYED_KEY: &str = "replayed.";

/// The job of a marker whose dead letter was discarded.
const DISCARDED: &str = "discarded";

/// A marker in the log of dead letters: the delivery was published again, or its dead letter was discarded. It settles the
/// delivery's dead letters up to `offset` and no later one, because the delivery may have failed again before the marker
/// was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayMarker {
    #[serde(rename = "replayed")]
    pub delivery_id: Uuid,
    /// Offset of the dead letter that was replayed.
    pub offset: u64,
    /// Id of the replay, or `discarded`.
    pub job: String,
    /// RFC 3339.
    pub at: String,
}

impl ReplayMarker {
    pub fn is_marker(record: &Record) -> bool {
        record.key.starts_with(REPLAYED_KEY)
    }

    /// `None` for a marker that cannot be read, which settles nothing.
    pub fn read(record: &Record) -> Option<Self> {
        serde_json::from_str(record.message.headers.text(wire::RECORD)?).ok()
    }

    /// The marker of a delivery that was replayed from its dead letter at `offset`. `now` is unix milliseconds.
    pub fn of(delivery: &Delivery, offset: u64, job: &str, now: u64) -> (Target, Message) {
        let marker = Self { delivery_id: delivery.id, offset, job: job.to_owned(), at: rfc3339(now) };
        marker.message(&delivery.tenant, &delivery.event_id, &delivery.event_type)
    }

    /// The marker of a tenant's dead letter at `offset` that was discarded. `now` is unix milliseconds.
    pub fn of_discarded(tenant: &str, delivery_id: Uuid, offset: u64, now: u64) -> (Target, Message) {
        let marker = Self { delivery_id, offset, job: DISCARDED.to_owned(), at: rfc3339(now) };
        marker.message(tenant, &"", &"")
    }

    fn message(&self, tenant: &str, event_id: &impl ToString, kind: &impl ToString) -> (Target, Message) {
        let to = Target::Log(Log::Dead, format!("{REPLAYED_KEY}{tenant}"));
        (to, marker_message((event_id.to_string(), kind.to_string()), tenant, self))
    }
}

/// The record of a parked message: `message` as it is kept, and the reason.
pub fn parked(parked: &Parked, mut message: Message) -> (Target, Message) {
    message.headers.set(wire::RECORD, HeaderValue::Text(json(parked).into()));
    (Target::Log(Log::Parked, parked.key()), message)
}

/// Length of the excerpt that is kept of a body too large to be parked whole, in bytes: enough to recognise its producer.
const EXCERPT_BYTES: usize = 4 * 1024;

/// Appends the record of a parked message, until it is confirmed, and returns it. If the broker does not take the whole
/// body, an excerpt is kept.
///
/// # Errors
/// As [`publish_until_confirmed`].
pub async fn park(
    broker: &dyn Broker,
    record: Parked,
    message: Message,
    deadline: Deadline,
) -> Result<Parked, PublishError> {
    let (to, whole) = parked(&record, message);
    match publish_until_confirmed(broker, &to, &whole, deadline.clone()).await {
        Err(PublishError::TooLarge) => {
            let (record, message) = cut(record, whole);
            let (to, message) = parked(&record, message);
            publish_until_confirmed(broker, &to, &message, deadline).await?;
            Ok(record)
        }
        published => published.map(|()| record),
    }
}

/// The record of a parked message with an excerpt of its body, unless that is as short.
pub fn cut(mut record: Parked, mut message: Message) -> (Parked, Message) {
    if message.body.len() > EXCERPT_BYTES {
        let (detail, cut) = (record.detail.unwrap_or_default(), described_excerpt(&message.body));
        record.detail = Some(format!("{detail}; {cut}"));
        message.body = excerpt(&message.body);
    }
    (record, message)
}

/// The detail of a record that keeps an excerpt, by whose end [`requeued`] knows it.
pub fn described_excerpt(body: &[u8]) -> String {
    let digest = hex(&Sha256::digest(body));
    format!("{} bytes, sha256:{digest}; the first {EXCERPT_BYTES} are kept", body.len())
}

/// The beginning of a body. It is copied, because a slice would keep the whole body in memory.
pub fn excerpt(body: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&body[..body.len().min(EXCERPT_BYTES)])
}

/// Reads a parked message without its body. Its id is the record's offset.
pub fn read_parked(record: &Record) -> Parked {
    let ours = record.message.headers.text(wire::RECORD).and_then(|json| serde_json::from_str(json).ok());
    let parked: Parked = ours.unwrap_or_else(|| parked_by_the_broker(record));
    let requeued = parked_delivery(record).map_or(0, |delivery| delivery.requeued);
    let accepted_at = record.message.headers.int(wire::ACCEPTED_AT).and_then(|at| u64::try_from(at).ok()).map(rfc3339);
    Parked { id: record.offset.to_string(), requeued, accepted_at, ..parked }
}

pub fn read_parked_with_body(record: &Record) -> Parked {
    Parked { body: body_as_json(&record.message.body), ..read_parked(record) }
}

/// A message that the broker parked itself, because it was handed out too often or matched no binding. The broker
/// writes no record, so reason and time are derived from key and headers.
fn parked_by_the_broker(record: &Record) -> Parked {
    let headers = &record.message.headers;
    let limit = ParkReason::DeliveryLimit;
    let (reason, routing_key) = match record.key.split_once('.') {
        Some((reason, tenant)) if reason == limit.as_str() && !tenant.contains('.') => (limit, None),
        _ if headers.text(rabbitmq::LAST_DEATH) == Some(limit.as_str()) => (limit, Some(record.key.clone())),
        _ => (ParkReason::Unroutable, Some(record.key.clone())),
    };
    let by_key = || routing_key.as_deref().filter(|key| key.split('.').count() == 5).and_then(tenant_of);
    let parked = Parked::of(&record.message, reason);
    let tenant = parked.tenant.or_else(by_key);
    let parked_at = headers.int(rabbitmq::PARKED_AT).and_then(|ms| u64::try_from(ms).ok()).map(rfc3339);
    Parked { tenant, routing_key, parked_at, ..parked }
}

/// The message in a parked record, and the target from which it goes on: an event to the routers, as the same event; a
/// delivery to the lane of retries, as the same attempt. Or why that is impossible.
pub fn requeued(record: &Record) -> Result<(Target, Message), &'static str> {
    let Parked { routing_key, detail, .. } = read_parked(record);
    if detail.is_some_and(|detail| detail.ends_with("are kept")) {
        return Err("only its beginning was kept");
    }
    let mut message = record.message.clone();
    message.headers.remove(wire::RECORD);
    message.headers.remove(rabbitmq::LAST_DEATH);
    message.headers.remove(rabbitmq::PARKED_AT);
    if let Some(delivery) = parked_delivery(record) {
        message.headers.set(wire::REQUEUED, HeaderValue::Int(i64::from(delivery.requeued) + 1));
        return Ok((Target::Lane(Lane::Slow, None), message));
    }
    let key = routing_key.filter(|key| key.split('.').count() == 5);
    let key =
        key.ok_or("it is no delivery, and came without the routing key of an event: where to publish it is unknown")?;
    Ok((Target::Ingest { key }, message))
}

/// The delivery in a parked record. The key of an event has more parts than that of a lane or a reason: whoever may
/// publish events could otherwise pass one off as a delivery, to any tenant's endpoint.
pub fn parked_delivery(record: &Record) -> Option<Delivery> {
    if record.key.split('.').count() > 2 {
        return None;
    }
    Delivery::from_message(&record.message).ok()
}

/// Beginning of a requeue marker's key, before the tenant. No reason has this name, and an event's key has more parts.
const REQUEUED_KEY: &str = "requeued.";

/// A marker in the log of parked messages: the message was published again. It settles a delivery's records up to
/// `offset` and no later one, because the delivery may have been parked again meanwhile; of anything else, it settles the
/// record at `offset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequeueMarker {
    /// None for what is no delivery.
    #[serde(rename = "requeued")]
    pub delivery_id: Option<Uuid>,
    /// Offset of the record that was published again.
    pub offset: u64,
}

impl RequeueMarker {
    pub fn is_marker(record: &Record) -> bool {
        record.key.strip_prefix(REQUEUED_KEY).is_some_and(|tenant| !tenant.contains('.'))
    }

    /// `None` for a marker that cannot be read, which settles nothing.
    pub fn read(record: &Record) -> Option<Self> {
        serde_json::from_str(record.message.headers.text(wire::RECORD)?).ok()
    }

    /// The marker for a record that was published again.
    pub fn of(record: &Record) -> (Target, Message) {
        let marker = Self { delivery_id: parked_delivery(record).map(|delivery| delivery.id), offset: record.offset };
        // A foreign producer may have chosen the name.
        let tenant = read_parked(record).tenant.filter(|tenant| is_part_of_key(tenant)).unwrap_or_default();
        let Message { id, kind, .. } = &record.message;
        let message = marker_message((id.clone(), kind.clone()), &tenant, &marker);
        (Target::Log(Log::Parked, format!("{REQUEUED_KEY}{tenant}")), message)
    }
}

fn is_part_of_key(tenant: &str) -> bool {
    tenant.len() <= MAX_TENANT_BYTES && !tenant.contains('.')
}

/// The message of a marker: it names the event and the tenant, as far as they are known, and has no body.
fn marker_message((id, kind): (String, String), tenant: &str, marker: &impl Serialize) -> Message {
    let mut headers = Headers::default();
    headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
    if !tenant.is_empty() {
        headers.set(wire::TENANT, HeaderValue::Text(tenant.into()));
    }
    headers.set(wire::RECORD, HeaderValue::Text(json(marker).into()));
    Message { id, kind, headers, body: Bytes::new() }
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
