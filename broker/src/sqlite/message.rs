//! A message as the file keeps it. Id, type, key and body have columns of their own, so that people can inspect the
//! file. The headers are one blob, packed.

use bytes::Bytes;
use schemas::{
    HeaderValue, Headers, Message,
    wire::{DUE, PACKED_VERSION, put_packed},
};

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
            headers: encode(&message.headers, &message.id, due),
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
        let mut headers = decode(&self.headers, &self.id).unwrap_or_default();
        self.key = queue.park_over_limit(std::mem::take(&mut self.key), &mut headers);
        headers.set(PARKED_AT, HeaderValue::Int(now));
        self.headers = encode(&headers, &self.id, None);
    }

    pub(super) fn into_message(self) -> Result<(Message, String), Damaged> {
        if self.damaged {
            return Err(Damaged);
        }
        let headers = decode(&self.headers, &self.id)?;
        Ok((Message { id: self.id, kind: self.kind, headers, body: self.body }, self.key))
    }
}

/// The bytes are no headers, or a text is no UTF-8: the file was damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored message is damaged")]
pub(super) struct Damaged;

/// Encodes the headers of a message with this id. The due header becomes that of `due`, or goes.
pub(super) fn encode(headers: &Headers, id: &str, due: Option<u64>) -> Vec<u8> {
    let mut bytes = headers.pack(id, |name| name != DUE);
    if let Some(due) = due {
        put_packed(&mut bytes, DUE, &HeaderValue::Int(i64::try_from(due).unwrap_or(i64::MAX)));
    }
    bytes
}

/// Reads the headers of a message with this id, in the present form or in that of earlier versions.
pub(super) fn decode(bytes: &[u8], id: &str) -> Result<Headers, Damaged> {
    match bytes.first() {
        Some(&PACKED_VERSION) => Headers::unpack(bytes, id).map_err(|_| Damaged),
        _ => decode_old(bytes),
    }
}

/// The bytes by which a row whose headers have this text is found: in the present form, and in that of earlier versions.
pub(super) fn occurrences(name: &str, value: &str) -> [Vec<u8>; 2] {
    let mut packed = Vec::new();
    put_packed(&mut packed, name, &HeaderValue::Text(value.into()));
    let mut old = vec![TEXT];
    for text in [name, value] {
        old.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        old.extend_from_slice(text.as_bytes());
    }
    [packed, old]
}

const INT: u8 = 0;
const TEXT: u8 = 1;

/// Reads what earlier versions wrote: for each header a kind, a name and a value, lengths as `u32`, all little-endian.
fn decode_old(mut bytes: &[u8]) -> Result<Headers, Damaged> {
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
    use schemas::wire::TENANT;

    fn old(headers: &[(&str, HeaderValue)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            let texts: &[&str] = match value {
                HeaderValue::Int(_) => &[name],
                HeaderValue::Text(text) => &[name, text],
            };
            bytes.push(texts.len() as u8 - 1);
            for text in texts {
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
            if let HeaderValue::Int(value) = value {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, "e1");
        }
    }

    #[test]
    fn the_due_header_is_the_brokers_own() {
        let mut headers = Headers::default();
        headers.set(DUE, HeaderValue::Int(7));
        assert_eq!(decode(&encode(&headers, "e1", None), "e1"), Ok(Headers::default()), "a stale one goes");
        headers.set(DUE, HeaderValue::Int(9));
        assert_eq!(decode(&encode(&Headers::default(), "e1", Some(9)), "e1"), Ok(headers), "a real one is set");
    }

    #[test]
    fn headers_of_earlier_versions_are_read_and_found() {
        let bytes = old(&[("carteiro-attempt", HeaderValue::Int(-3)), (TENANT, HeaderValue::Text("acme".into()))]);
        let headers = decode(&bytes, "e1").expect("headers");
        assert_eq!((headers.int("carteiro-attempt"), headers.text(TENANT)), (Some(-3), Some("acme")));
        let [packed, old] = occurrences(TENANT, "acme");
        assert!(bytes.windows(old.len()).any(|at| at == old));
        assert!(encode(&headers, "e1", None).windows(packed.len()).any(|at| at == packed));
        assert_eq!(decode(&[], "e1"), Ok(Headers::default()), "none");
    }

    #[test]
    fn cut_headers_are_noticed() {
        let mut headers = Headers::default();
        headers.set(TENANT, HeaderValue::Text("acme".into()));
        let bytes = encode(&headers, "e1", None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], "e1"), Err(Damaged));
        let bytes = old(&[(TENANT, HeaderValue::Text("acme".into()))]);
        assert_eq!(decode(&bytes[..bytes.len() - 1], "e1"), Err(Damaged));
    }
}
