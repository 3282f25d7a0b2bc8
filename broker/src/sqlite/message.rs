//! A message as the file keeps it. Id, type, key and body have columns of their own, so that people can inspect the
//! file. The headers are one blob: for each a kind, a name and a value, lengths as `u32`, all little-endian.

use bytes::Bytes;
use schemas::{HeaderValue, Headers, Message, wire::DUE};

use crate::{Queue, Target, rabbitmq::PARKED_AT};

/// Bytes of a message besides headers and body: id, type, key, offset, and the database's own.
pub(super) const OVERHEAD: usize = 128;

/// The publisher's task encodes it, so that the writer's thread does not have to.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) headers: Vec<u8>,
    pub(super) body: Bytes,
    /// True when a text was no UTF-8: the file was damaged. What could be read of it is there.
    pub(super) damaged: bool,
}

impl MessageRow {
    pub(super) fn of(target: &Target, message: &Message) -> Self {
        let (key, due) = match target {
            Target::Ingest { key } | Target::IngestSlow { key } | Target::Log(_, key) => (key.as_str(), None),
            Target::Lane(lane, due) => (lane.name(), due.map(|due| due.at)),
        };
        Self {
            id: message.id.clone(),
            kind: message.kind.clone(),
            key: key.to_owned(),
            headers: encode(&message.headers, due),
            body: message.body.clone(),
            damaged: false,
        }
    }

    /// Reads the columns `id, kind, key, headers, body`, in this order, from the column `first` on.
    /// Damaged texts are no errors, for one such row would fail every transaction that reads it.
    pub(super) fn read(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let mut damaged = false;
        let mut text = |column| -> rusqlite::Result<String> {
            let bytes = row.get_ref(column)?.as_bytes()?;
            let text = std::str::from_utf8(bytes).map(str::to_owned);
            Ok(text.unwrap_or_else(|_| {
                damaged = true;
                String::from_utf8_lossy(bytes).into_owned()
            }))
        };
        Ok(Self {
            id: text(first)?,
            kind: text(first + 1)?,
            key: text(first + 2)?,
            damaged,
            headers: row.get(first + 3)?,
            body: row.get::<_, Vec<u8>>(first + 4)?.into(),
        })
    }

    pub(super) fn size(&self) -> usize {
        self.headers.len() + self.body.len() + OVERHEAD
    }

    /// Makes this the record of a message that is over the delivery limit of `queue`. Damaged headers are dropped, so that
    /// readers of the log can read it.
    pub(super) fn park_over_limit(&mut self, queue: Queue, now: i64) {
        let mut headers = decode(&self.headers).unwrap_or_default();
        self.key = queue.park_over_limit(std::mem::take(&mut self.key), &mut headers);
        headers.set(PARKED_AT, HeaderValue::Int(now));
        self.headers = encode(&headers, None);
    }

    pub(super) fn into_message(self) -> Result<(Message, String), Damaged> {
        if self.damaged {
            return Err(Damaged);
        }
        let headers = decode(&self.headers)?;
        Ok((Message { id: self.id, kind: self.kind, headers, body: self.body }, self.key))
    }
}

const INT: u8 = 0;
const TEXT: u8 = 1;

/// The bytes are no headers, or a text is no UTF-8: the file was damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored message is damaged")]
pub(super) struct Damaged;

/// Encodes headers. The due header becomes that of `due`, or goes.
pub(super) fn encode(headers: &Headers, due: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    for (name, value) in headers.iter().filter(|(name, _)| *name != DUE) {
        put(&mut bytes, name, value);
    }
    if let Some(due) = due {
        put(&mut bytes, DUE, &HeaderValue::Int(i64::try_from(due).unwrap_or(i64::MAX)));
    }
    bytes
}

pub(super) fn decode(mut bytes: &[u8]) -> Result<Headers, Damaged> {
    let mut headers = Headers::default();
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = rest;
        let name = text(&mut bytes)?.to_owned();
        let value = match kind {
            INT => {
                let (value, rest) = bytes.split_first_chunk().ok_or(Damaged)?;
                bytes = rest;
                HeaderValue::Int(i64::from_le_bytes(*value))
            }
            TEXT => HeaderValue::Text(text(&mut bytes)?.into()),
            _ => return Err(Damaged),
        };
        headers.set(name, value);
    }
    Ok(headers)
}

fn put(bytes: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    bytes.push(match value {
        HeaderValue::Int(_) => INT,
        HeaderValue::Text(_) => TEXT,
    });
    put_text(bytes, name);
    match value {
        HeaderValue::Int(value) => bytes.extend_from_slice(&value.to_le_bytes()),
        HeaderValue::Text(value) => put_text(bytes, value),
    }
}

/// A text beyond 4 GiB would not fit into a message.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Damaged> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Damaged)?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Damaged)?;
    *bytes = rest;
    std::str::from_utf8(text).map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = HeaderValue> {
        prop_oneof![
            any::<i64>().prop_map(HeaderValue::Int),
            any::<String>().prop_map(|text| HeaderValue::Text(text.into()))
        ]
    }

    proptest! {
        #[test]
        fn headers_come_back_as_they_were(pairs in prop::collection::vec((any::<String>(), any_header()), 0..20)) {
            let mut headers = Headers::default();
            for (name, value) in pairs {
                headers.set(name, value);
            }
            prop_assert_eq!(decode(&encode(&headers, None)), Ok(headers));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn the_due_header_is_the_brokers_own() {
        let mut headers = Headers::default();
        headers.set(DUE, HeaderValue::Int(7));
        assert_eq!(decode(&encode(&headers, None)), Ok(Headers::default()), "a stale one goes");
        headers.set(DUE, HeaderValue::Int(9));
        assert_eq!(decode(&encode(&Headers::default(), Some(9))), Ok(headers), "a real one is set");
    }

    #[test]
    fn cut_headers_are_noticed() {
        let mut headers = Headers::default();
        headers.set("carteiro-tenant", HeaderValue::Text("acme".into()));
        let bytes = encode(&headers, None);
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Damaged));
    }
}
