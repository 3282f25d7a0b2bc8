//! Headers in few bytes, for messages between routers and deliverers and for the embedded broker's file: what brokers do with
//! a message costs by the byte, and names take most of them.
//!
//! The first byte of packed headers is the version of the form. Each header follows as its key, and its value: a number as a signed varint, a
//! text with its length before it. A name without a key is written out. What follows from other headers is left out: the
//! delivery's id, where it is the UUIDv5 of the others, and the part, where it is the first.
//!
//! A packed message is the version of the form, the id, the type and the packed headers, each with its length before it, and
//! the body.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    ACCEPTED_AT, ATTEMPT, CANARY, DEFERRALS, DELIVERY_ID, DUE, ENDPOINT, EVENT_TIME, FIRST_AT, HOPS, HeaderValue,
    Headers, LAST, Message, PART, RECORD, REPLAY, REQUEUED, REVISION, SCHEMA, SUBSCRIPTIONS, TENANT, TEST, TRACEPARENT,
    TRACESTATE,
};
use crate::{EventId, Part, delivery_id};

/// The first byte of the form. 0 and 1 begin the older form of the embedded broker's file.
pub const PACKED_VERSION: u8 = 2;

/// The names that have a key: their place here, counted from 1. New ones are added at the end.
const NAMES: [&str; 22] = [
    SCHEMA,
    TENANT,
    ACCEPTED_AT,
    EVENT_TIME,
    REVISION,
    ATTEMPT,
    DELIVERY_ID,
    ENDPOINT,
    PART,
    SUBSCRIPTIONS,
    FIRST_AT,
    LAST,
    DEFERRALS,
    REQUEUED,
    REPLAY,
    TEST,
    HOPS,
    DUE,
    TRACEPARENT,
    TRACESTATE,
    CANARY,
    RECORD,
];
/// The key of a name that has none.
const NAMED: u8 = 0;
/// Added to twice the key of a header whose value is a text.
const TEXT: u8 = 1;
/// Bytes of the largest number.
const LONGEST_VARINT: usize = 10;

/// The bytes are no packed headers or message, or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packed headers are damaged, or of a later version")]
pub struct BadPacked;

impl Message {
    /// The packed form of the message, with those headers whose names are wanted.
    pub fn pack(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
        let headers = self.headers.pack(&self.id, is_wanted);
        let lengths = 1 + 3 * LONGEST_VARINT;
        let mut bytes = Vec::with_capacity(lengths + self.id.len() + self.kind.len() + headers.len() + self.body.len());
        bytes.push(PACKED_VERSION);
        put_bytes(&mut bytes, self.id.as_bytes());
        put_bytes(&mut bytes, self.kind.as_bytes());
        put_bytes(&mut bytes, &headers);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads a packed message, whose body stays where it is.
    pub fn unpack(bytes: &Bytes) -> Result<Self, BadPacked> {
        let mut rest = versioned(bytes)?;
        let (id, kind) = (take_text(&mut rest)?.to_owned(), take_text(&mut rest)?.to_owned());
        let headers = Headers::unpack(take_bytes(&mut rest)?, &id)?;
        Ok(Self { id, kind, headers, body: bytes.slice_ref(rest) })
    }
}

impl Headers {
    /// The packed form of those headers of a message with this id whose names are wanted.
    pub fn pack(&self, id: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(PACKED_VERSION);
        let derived = derived_id(self, id);
        for (name, value) in self.iter() {
            let is_derived = match (name, value) {
                (DELIVERY_ID, HeaderValue::Text(id)) => derived.as_deref() == Some(&**id),
                (PART, HeaderValue::Text(part)) => part.is_empty() && self.text(ENDPOINT).is_some(),
                _ => false,
            };
            if !is_derived && is_wanted(name) {
                put_packed(&mut bytes, name, value);
            }
        }
        bytes
    }

    /// Reads the packed headers of a message with this id.
    pub fn unpack(bytes: &[u8], id: &str) -> Result<Self, BadPacked> {
        let mut rest = versioned(bytes)?;
        let mut headers = Self::default();
        while let Some((tag, after)) = rest.split_first() {
            rest = after;
            let name = match tag >> 1 {
                NAMED => Cow::Owned(take_text(&mut rest)?.to_owned()),
                key => Cow::Borrowed(*NAMES.get(usize::from(key) - 1).ok_or(BadPacked)?),
            };
            let value = match tag & TEXT {
                TEXT => HeaderValue::Text(take_text(&mut rest)?.into()),
                _ => HeaderValue::Int(unsigned_to_signed(take_varint(&mut rest)?)),
            };
            headers.set(name, value);
        }
        if headers.text(ENDPOINT).is_some() {
            if headers.text(PART).is_none() {
                headers.set(PART, HeaderValue::Text("".into()));
            }
            if headers.text(DELIVERY_ID).is_none()
                && let Some(derived) = derived_id(&headers, id)
            {
                headers.set(DELIVERY_ID, HeaderValue::Text(derived.into()));
            }
        }
        Ok(headers)
    }
}

/// The id that the delivery of these headers has, unless it has another one.
fn derived_id(headers: &Headers, event_id: &str) -> Option<String> {
    let (tenant, endpoint) = (headers.text(TENANT)?, headers.text(ENDPOINT)?);
    let part = Part::parse(headers.text(PART)?)?;
    let event_id = EventId::try_from(event_id.to_owned()).ok()?;
    Some(delivery_id(tenant, &event_id, endpoint, part).to_string())
}

/// Appends a header to the packed form.
pub fn put_packed(bytes: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    let key = NAMES.iter().position(|known| *known == name).map_or(NAMED, |place| place as u8 + 1);
    bytes.push(key << 1 | if matches!(value, HeaderValue::Text(_)) { TEXT } else { 0 });
    if key == NAMED {
        put_bytes(bytes, name.as_bytes());
    }
    match value {
        HeaderValue::Int(value) => put_varint(bytes, signed_to_unsigned(*value)),
        HeaderValue::Text(text) => put_bytes(bytes, text.as_bytes()),
    }
}

/// What follows the version.
fn versioned(bytes: &[u8]) -> Result<&[u8], BadPacked> {
    match bytes.split_first() {
        Some((&PACKED_VERSION, rest)) => Ok(rest),
        _ => Err(BadPacked),
    }
}

fn put_bytes(bytes: &mut Vec<u8>, more: &[u8]) {
    put_varint(bytes, more.len() as u64);
    bytes.extend_from_slice(more);
}

/// Seven bits a byte, the lowest first; the highest bit of a byte says that more follow.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, BadPacked> {
    std::str::from_utf8(take_bytes(bytes)?).map_err(|_| BadPacked)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], BadPacked> {
    let length = usize::try_from(take_varint(bytes)?).map_err(|_| BadPacked)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(BadPacked)?;
    *bytes = rest;
    Ok(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, BadPacked> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(BadPacked)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadPacked)
}

/// Small numbers of either sign become small ones.
fn signed_to_unsigned(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unsigned_to_signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Delivery;

    const ID: &str = "01a22aff-9980-7f31-8418-5b330e7a000b";

    fn any_header() -> impl Strategy<Value = HeaderValue> {
        prop_oneof![
            any::<i64>().prop_map(HeaderValue::Int),
            any::<String>().prop_map(|text| HeaderValue::Text(text.into()))
        ]
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), prop::sample::select(&NAMES[..]).prop_map(str::to_owned)]
    }

    fn sorted(headers: &Headers) -> Vec<(String, HeaderValue)> {
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn delivery() -> Delivery {
        let (id, kind) = (EventId::try_from(ID.to_owned()).unwrap(), "message.received".to_owned().try_into().unwrap());
        Delivery {
            event_time: 1_790_000_000_000,
            revision: 1_234,
            subscriptions: vec!["inbox".to_owned()],
            ..Delivery::owed("acme-support", &id, kind, "crm-production", Part::First, 1_790_000_000_123)
        }
    }

    proptest! {
        #[test]
        fn headers_come_back_as_they_were(pairs in prop::collection::vec((any_name(), any_header()), 0..20)) {
            let mut headers = Headers::default();
            for (name, value) in pairs {
                headers.set(name, value);
            }
            let read = Headers::unpack(&headers.pack(ID, |_| true), ID).unwrap();
            let mut expected = headers.clone();
            // A delivery always has these two.
            if headers.text(ENDPOINT).is_some() {
                for name in [PART, DELIVERY_ID].into_iter().filter(|name| headers.text(name).is_none()) {
                    if let Some(text) = read.text(name) {
                        expected.set(name, HeaderValue::Text(text.into()));
                    }
                }
            }
            prop_assert_eq!(sorted(&read), sorted(&expected));
        }

        #[test]
        fn a_message_comes_back_as_it_was(id: String, kind: String, body: Vec<u8>, header in any_header()) {
            let mut message = Message { id, kind, body: body.into(), ..Message::default() };
            message.headers.set(TENANT, header);
            prop_assert_eq!(Message::unpack(&message.pack(|_| true).into()), Ok(message));
        }

        #[test]
        fn no_bytes_make_reading_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..64)) {
            let _ = Headers::unpack(&bytes, ID);
            bytes[0] = PACKED_VERSION;
            let _ = (Headers::unpack(&bytes, ID), Message::unpack(&bytes.into()));
        }
    }

    #[test]
    fn a_first_attempt_takes_less_than_a_hundred_bytes() {
        let message = delivery().to_message(Bytes::new());
        let packed = message.headers.pack(&message.id, |_| true);
        assert!(packed.len() < 80, "{} bytes", packed.len());
        let beside = message.pack(|_| true).len() - message.id.len() - message.kind.len() - message.body.len();
        assert!(beside < 100, "{beside} bytes beside id, type and body");
        let headers = Headers::unpack(&packed, &message.id).unwrap();
        assert_eq!(Delivery::from_message(&super::super::Message { headers, ..message }).unwrap(), delivery());
    }

    #[test]
    fn an_id_that_does_not_follow_from_the_others_is_kept() {
        let mut message = delivery().to_message(Bytes::new());
        let other = "9f1c7c1e-6a0e-5c39-9b7b-0d5a1a0f0001";
        message.headers.set(DELIVERY_ID, HeaderValue::Text(other.into()));
        let read = Headers::unpack(&message.headers.pack(ID, |_| true), ID).unwrap();
        assert_eq!(read.text(DELIVERY_ID), Some(other));
    }

    #[test]
    fn another_version_and_cut_headers_are_refused() {
        let packed = delivery().to_message(Bytes::new()).headers.pack(ID, |_| true);
        assert_eq!(Headers::unpack(&packed[..packed.len() - 1], ID), Err(BadPacked));
        assert_eq!(Headers::unpack(&[], ID), Err(BadPacked));
        assert_eq!(Headers::unpack(&[3], ID), Err(BadPacked));
        assert_eq!(Message::unpack(&Bytes::from_static(&[3, 0, 0, 1, PACKED_VERSION])), Err(BadPacked));
        assert_eq!(Message::unpack(&Bytes::from_static(&[PACKED_VERSION, 0, 0, 2, PACKED_VERSION])), Err(BadPacked));
    }
}
