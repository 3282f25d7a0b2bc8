//! The record that ends a dead letter: it was replayed. The log is only ever appended to, so this is how one goes.

use broker::{Header, Headers, Log, Message, Record, Target};
use bytes::Bytes;
use schemas::{Delivery, time::rfc3339, wire};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A marker's key begins with this, a dead letter's with its reason; no reason is called so.
const KEY: &str = "replayed.";

/// A delivery was published again. It ends its dead letters up to `offset`, and no later one: the delivery may have
/// died again before this was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replayed {
    /// The delivery's id.
    #[serde(rename = "replayed")]
    pub(crate) delivery_id: Uuid,
    /// Its dead letter's place in the log.
    pub(crate) offset: u64,
    /// The replay's id.
    pub(crate) job: String,
    /// RFC 3339.
    pub(crate) at: String,
}

impl Replayed {
    /// Whether a record is a marker, which it says in its key.
    pub(crate) fn is_marker(record: &Record) -> bool {
        record.key.starts_with(KEY)
    }

    /// Reads a marker; none when it cannot be read, which ends nothing.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        serde_json::from_str(record.message.headers.text(wire::RECORD)?).ok()
    }

    /// The marker of a delivery that is being replayed from its dead letter at `offset`, at unix ms `now`.
    pub(crate) fn of(delivery: &Delivery, offset: u64, job: &str, now: u64) -> (Target, Message) {
        let marker = Self { delivery_id: delivery.id, offset, job: job.to_owned(), at: rfc3339(now) };
        let json = serde_json::to_string(&marker).unwrap_or_default();
        let mut headers = Headers::default();
        headers.set(wire::SCHEMA, Header::Int(wire::SCHEMA_VERSION));
        headers.set(wire::TENANT, Header::Text(delivery.tenant.as_str().into()));
        headers.set(wire::RECORD, Header::Text(json.into()));
        let (id, kind) = (delivery.event_id.to_string(), delivery.event_type.to_string());
        let to = Target::Log(Log::Dead, format!("{KEY}{}", delivery.tenant));
        (to, Message { id, kind, headers, body: Bytes::new() })
    }
}
