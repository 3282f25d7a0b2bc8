//! A [`Message`] as AMQP properties and headers, and back. A foreign header of any type does no harm, and is ignored.
//!
//! A delivery carries its id, type and headers packed in front of its body, as soon as every deliverer reads that: RabbitMQ's
//! costs go by the bytes of properties (docs/rabbitmq.md#bytes-of-properties).

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use schemas::{
    HeaderValue, Headers, Message,
    wire::{CANARY, DUE},
};

use super::{
    delays::{Delay, LEVELS},
    topology::DELIVERY_LIMIT_KEY,
};
use crate::PublishError;

/// Header with the length of the whole wait in milliseconds, 0 for an exact one. It exists only between the hops of the
/// ladder.
const WAIT: &str = "carteiro-wait";
/// Content encoding of a packed message.
const PACKED: &str = "carteiro";
/// Header of a marker: a message in a log that shows a reader where to stop, or what became of a probe. Readers do not show
/// it.
const MARKER: &str = "carteiro-marker";
/// Type of a probe, which shows whether a binding is there. With the header of a marker, consumers take it for themselves.
const PROBE: &str = "carteiro.probe";
/// Key of a marker.
pub(super) const MARKER_KEY: &str = "marker.-";
/// Key of the marker by which a consumer says that it got a probe.
pub(super) const PROBE_TAKEN_KEY: &str = "taken.-";
const FIRST_DEATH: &str = "x-first-death-reason";
const TRACE: [&str; 2] = ["traceparent", "tracestate"];
const PERSISTENT: u8 = 2;
/// Largest memory that a body in hand has beyond its length, in bytes. With more, a copy is cheaper.
const MOST_SPARE: usize = 64 * 1024;
/// Header of a log's record with the reason for which the broker dead-lettered it, as RabbitMQ 3.13 and later write it.
pub(crate) const LAST_DEATH: &str = "x-last-death-reason";
/// Header of a log's record that the broker itself has parked: the time of it in unix milliseconds, as far as it is known.
/// Readers of the log set it; no message is published with it.
pub(crate) const PARKED_AT: &str = "x-parked-at";

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageForm {
    /// Each header as one of its own: the public form of events, and what earlier deliverers read.
    Named,
    /// Id, type and headers in front of the body ([`Message::pack`]). Only a delay has headers of its own.
    Packed,
}

/// A message as the broker gets it.
#[derive(Debug)]
pub(super) struct WrittenMessage<'a> {
    /// Boxed, because a publish goes through many futures, each of which would move some hundred bytes.
    pub(super) properties: Box<BasicProperties>,
    pub(super) body: Cow<'a, [u8]>,
}

/// Only our own headers and the trace context are written: with a copied `x-death` the broker drops a message on its
/// second pass through a level, or keeps it for ever (docs/rabbitmq.md#a-copied-x-death).
pub(super) fn write(
    message: &Message,
    form: MessageForm,
    delay: Option<Delay>,
    now: u64,
) -> Result<WrittenMessage<'_>, PublishError> {
    let mut table = FieldTable::default();
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_timestamp(now / 1000);
    let body = match form {
        MessageForm::Packed => {
            properties = properties.with_content_encoding(PACKED.into());
            Cow::Owned(message.pack(is_forwarded))
        }
        MessageForm::Named => {
            for (name, value) in message.headers.iter().filter(|(name, _)| is_forwarded(name)) {
                table.insert(short(name)?, amqp(value));
            }
            properties = properties.with_content_type("application/json".into()).with_app_id("carteiro".into());
            if !message.id.is_empty() {
                properties = properties.with_message_id(short(&message.id)?);
            }
            if !message.kind.is_empty() {
                properties = properties.with_type(short(&message.kind)?);
            }
            Cow::Borrowed(&*message.body)
        }
    };
    if let Some(delay) = delay {
        table.insert(DUE.into(), AMQPValue::LongLongInt(clamp(delay.due)));
        table.insert(WAIT.into(), AMQPValue::LongLongInt(clamp(delay.whole)));
    }
    if !table.inner().is_empty() {
        properties = properties.with_headers(table);
    }
    Ok(WrittenMessage { properties: Box::new(properties), body })
}

pub(super) fn marker_properties(marker: i64) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(MARKER.into(), AMQPValue::LongLongInt(marker));
    BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers)
}

/// The properties of a probe; of one that `expires`, as soon as it is the first in its queue. The header of a canary keeps
/// deliverers of earlier versions from parking it; their routers park it.
pub(super) fn probe_properties(marker: i64, expires: bool) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(MARKER.into(), AMQPValue::LongLongInt(marker));
    headers.insert(CANARY.into(), AMQPValue::LongString("probe".into()));
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_app_id("carteiro".into())
        .with_type(PROBE.into())
        .with_headers(headers);
    if expires { properties.with_expiration("0".into()) } else { properties }
}

/// A short string, which AMQP limits to 255 bytes. lapin would panic on a longer one
/// (docs/rabbitmq.md#long-names-in-lapin).
pub(super) fn short(text: &str) -> Result<ShortString, PublishError> {
    ShortString::try_new(text).map_err(|_| PublishError::TooLarge)
}

pub(super) struct ReceivedMessage {
    pub(super) message: Message,
    pub(super) key: String,
    /// `x-delivery-count`, and at least 1 for a redelivered message.
    pub(super) count: u32,
    /// The delay of a message between two hops.
    pub(super) delay: Option<Delay>,
    pub(super) offset: Option<u64>,
    /// Reason of the last dead-lettering: `expired`, `delivery_limit`, `rejected`.
    pub(super) last_death: Option<HeaderValue>,
    /// When the broker itself parked the message, in unix milliseconds.
    pub(super) parked_at: Option<u64>,
    /// The number of a marker; `None` for a record.
    pub(super) marker: Option<i64>,
}

impl ReceivedMessage {
    /// The number of a probe; `None` for anything else.
    pub(super) fn probe(&self) -> Option<i64> {
        self.marker.filter(|_| self.message.kind == PROBE)
    }
}

pub(super) fn receive(delivery: Delivery) -> ReceivedMessage {
    let properties = delivery.properties;
    let nothing = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&nothing);
    let int = |name: &str| match header(table.inner().get(name)?)? {
        HeaderValue::Int(value) => Some(value),
        HeaderValue::Text(_) => None,
    };
    let number = |name| int(name).and_then(|value| u64::try_from(value).ok());
    let count = number("x-delivery-count").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    ReceivedMessage {
        key: delivery.routing_key.to_string(),
        count: count.max(u32::from(delivery.redelivered)),
        delay: number(DUE).zip(number(WAIT)).map(|(due, whole)| Delay { due, whole }),
        offset: number("x-stream-offset"),
        marker: int(MARKER),
        last_death: last_death(table, delivery.routing_key.as_str()),
        parked_at: parked_at(table, *properties.timestamp(), delivery.routing_key.as_str()),
        message: read(&properties, table, without_spare(delivery.data)),
    }
}

/// The bytes of a body, without the memory that it does not fill. lapin doubles it whenever a frame does not fit, so a body of a
/// little over a mebibyte has two. Where the kernel gives huge pages, they are in use, and what is in hand would be twice as
/// much as is counted.
fn without_spare(body: Vec<u8>) -> Bytes {
    let spare = body.capacity() - body.len();
    if spare > MOST_SPARE { Bytes::copy_from_slice(&body) } else { body.into() }
}

/// The message of these properties. A packed one that cannot be read has neither id nor headers, so that it is parked.
fn read(properties: &BasicProperties, table: &FieldTable, body: Bytes) -> Message {
    let is_packed = properties.content_encoding().as_ref().is_some_and(|encoding| encoding.as_str() == PACKED);
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    let unpacked = if is_packed { Message::unpack(&body).ok() } else { None };
    let mut message = unpacked.unwrap_or_else(|| Message {
        id: text(properties.message_id()),
        kind: text(properties.kind()),
        headers: Headers::default(),
        body,
    });
    for (name, value) in table.into_iter().filter(|(name, _)| is_forwarded(name.as_str()) || name.as_str() == DUE) {
        if let Some(value) = header(value) {
            message.headers.set(name.to_string(), value);
        }
    }
    message
}

fn is_forwarded(name: &str) -> bool {
    (name.starts_with("carteiro-") && ![DUE, WAIT, MARKER].contains(&name)) || TRACE.contains(&name)
}

fn amqp(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Text(value) => AMQPValue::LongString(value.as_bytes().into()),
    }
}

/// The reason of the last dead-lettering. RabbitMQ writes it into a header from 3.13 on, and into `x-death`, whose
/// first entry is the newest. A stream of an older version keeps only the first reason
/// (docs/rabbitmq.md#a-stream-keeps-only-the-first-death), mostly that of the ladder, so lanes put the last one into
/// the key.
fn last_death(table: &FieldTable, key: &str) -> Option<HeaderValue> {
    let table = table.inner();
    if let Some(reason) = table.get(LAST_DEATH) {
        return header(reason);
    }
    if let Some(death) = newest_death(table) {
        return header(death.inner().get("reason")?);
    }
    if key == DELIVERY_LIMIT_KEY {
        return Some(HeaderValue::Text("delivery_limit".into()));
    }
    header(table.get(FIRST_DEATH)?)
}

/// The time at which a message was parked without a record of ours: that of its last death, or that of its publishing,
/// after which an alternate exchange parks it at once. A stream of an older version keeps no time of a death: what woke
/// without a route was parked when its level was over, and what was handed out too often nobody knows when.
fn parked_at(table: &FieldTable, published: Option<u64>, key: &str) -> Option<u64> {
    let published = published.map(|seconds| seconds.saturating_mul(1_000));
    let table = table.inner();
    if let Some(death) = newest_death(table) {
        return match death.inner().get("time")? {
            AMQPValue::Timestamp(seconds) => Some(seconds.saturating_mul(1_000)),
            _ => None,
        };
    }
    if !table.contains_key(FIRST_DEATH) {
        return published;
    }
    let waited = LEVELS.iter().find(|level| key.strip_prefix(level.name).is_some_and(|rest| rest.starts_with('.')))?;
    Some(published?.saturating_add(waited.ms))
}

/// The newest entry of `x-death`.
fn newest_death(table: &BTreeMap<ShortString, AMQPValue>) -> Option<&FieldTable> {
    match table.get("x-death")? {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

fn header(value: &AMQPValue) -> Option<HeaderValue> {
    Some(match value {
        AMQPValue::ShortShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongLongInt(value) => HeaderValue::Int(*value),
        AMQPValue::Timestamp(value) => HeaderValue::Int(clamp(*value)),
        AMQPValue::ShortString(value) => HeaderValue::Text(value.as_str().into()),
        AMQPValue::LongString(value) => HeaderValue::Text(String::from_utf8_lossy(value.as_bytes()).into()),
        _ => return None,
    })
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use lapin::types::{ByteArray, DecimalValue};
    use schemas::{EventId, Part};

    use super::*;

    fn table(values: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in values {
            table.insert(name.into(), value);
        }
        table
    }

    fn received(headers: FieldTable) -> ReceivedMessage {
        let mut delivery = Delivery::mock(1, "x".into(), "slow".into(), false, b"body".to_vec());
        delivery.properties = BasicProperties::default().with_headers(headers);
        receive(delivery)
    }

    /// What a consumer receives of a message that is written in this form.
    fn sent(message: &Message, form: MessageForm, delay: Option<Delay>) -> ReceivedMessage {
        let written = write(message, form, delay, 0).expect("fits");
        let mut delivery = Delivery::mock(1, "x".into(), "fast".into(), false, written.body.into_owned());
        delivery.properties = *written.properties;
        receive(delivery)
    }

    #[test]
    fn a_body_in_hand_takes_little_more_memory_than_it_has_bytes() {
        for (bytes, capacity) in [(1_048_650, 2_097_152), (1_000, 1_100)] {
            let mut body = Vec::with_capacity(capacity);
            body.resize(bytes, b'x');
            let delivery = Delivery::mock(1, "x".into(), "fast".into(), false, body);
            let held = receive(delivery).message.body.try_into_mut().expect("nobody else has it");
            assert!(held.len() == bytes && held.capacity() - bytes <= MOST_SPARE, "{}", held.capacity());
        }
    }

    #[test]
    fn a_message_is_received_as_it_was_published() {
        let mut message = Message {
            id: "e1".into(),
            kind: "ticket.created".into(),
            body: Bytes::from_static(b"{}"),
            ..<_>::default()
        };
        message.headers.set("carteiro-attempt", HeaderValue::Int(3));
        message.headers.set("traceparent", HeaderValue::Text("00-aa".into()));
        assert_eq!(sent(&message, MessageForm::Named, None).message, message);
        let written = write(&message, MessageForm::Named, None, 1_790_000_000_123).expect("fits");
        assert_eq!(written.properties.timestamp(), &Some(1_790_000_000));
    }

    /// A delivery as routers make it.
    fn delivery() -> Message {
        let id = EventId::try_from("01a22aff-9980-7f31-8418-5b330e7a000b".to_owned()).expect("an id");
        let kind = "message.received".to_owned().try_into().expect("a type");
        let delivery = schemas::Delivery {
            event_time: 1_790_000_000_000,
            revision: 1_234,
            subscriptions: vec!["inbox".to_owned()],
            ..schemas::Delivery::owed("acme-support", &id, kind, "crm-production", Part::First, 1_790_000_000_123)
        };
        delivery.to_message(Bytes::from_static(b"{}"))
    }

    fn sorted(headers: &Headers) -> BTreeMap<&str, &HeaderValue> {
        headers.iter().collect()
    }

    #[test]
    fn a_packed_delivery_is_received_as_it_was_published() {
        let message = delivery();
        let received = sent(&message, MessageForm::Packed, None).message;
        assert_eq!(sorted(&received.headers), sorted(&message.headers));
        assert_eq!(Message { headers: message.headers.clone(), ..received }, message);
    }

    #[test]
    fn the_due_time_and_the_wait_of_a_packed_delivery_are_headers_of_their_own() {
        let delay = Delay { due: 1_790_000_005_000, whole: 5_000 };
        let received = sent(&delivery(), MessageForm::Packed, Some(delay));
        assert_eq!((received.delay, received.message.headers.int(DUE)), (Some(delay), Some(1_790_000_005_000)));
    }

    #[test]
    fn a_packed_message_that_is_damaged_has_neither_id_nor_headers() {
        let mut delivery = Delivery::mock(1, "x".into(), "slow".into(), false, vec![9, 9, 9]);
        delivery.properties = BasicProperties::default().with_content_encoding(PACKED.into());
        let body = Bytes::from_static(&[9, 9, 9]);
        assert_eq!(receive(delivery).message, Message { body, ..Message::default() });
    }

    /// Bytes of properties on the wire.
    fn encoded(properties: &BasicProperties) -> usize {
        let headers = |table: &FieldTable| {
            let value = |value: &AMQPValue| match value {
                AMQPValue::LongLongInt(_) => 8,
                AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
                other => panic!("{other:?}"),
            };
            4 + table.into_iter().map(|(name, it)| 1 + name.as_str().len() + 1 + value(it)).sum::<usize>()
        };
        let text = |text: &Option<ShortString>| text.as_ref().map_or(0, |text| 1 + text.as_str().len());
        let encoding = properties.content_encoding();
        let texts =
            [properties.content_type(), encoding, properties.app_id(), properties.message_id(), properties.kind()];
        let fixed = 2 + 1 + 8;
        fixed + texts.into_iter().map(text).sum::<usize>() + properties.headers().as_ref().map_or(0, headers)
    }

    #[test]
    fn a_packed_delivery_has_twenty_bytes_of_properties_and_a_named_one_four_hundred() {
        let message = delivery();
        let bytes = |form| encoded(&write(&message, form, None, 0).expect("fits").properties);
        let [packed, named] = [MessageForm::Packed, MessageForm::Named].map(bytes);
        assert!(packed <= 20 && named > 400, "packed {packed}, named {named}");
    }

    #[test]
    fn only_our_own_headers_and_the_trace_context_are_forwarded() {
        let mut message = Message::default();
        for name in ["x-death", "x-first-death-reason", "x-last-death-queue", "x-delivery-count", "CC", "BCC", "mine"] {
            message.headers.set(name, HeaderValue::Text("v".into()));
        }
        message.headers.set("carteiro-tenant", HeaderValue::Text("acme".into()));
        message.headers.set(DUE, HeaderValue::Int(1));
        for form in [MessageForm::Named, MessageForm::Packed] {
            let received = sent(&message, form, None).message.headers;
            assert_eq!(received.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["carteiro-tenant"]);
        }
        let written = write(&message, MessageForm::Named, None, 0).expect("fits");
        let names: Vec<_> = written.properties.headers().iter().flatten().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["carteiro-tenant"]);
    }

    #[test]
    fn headers_of_any_type_do_no_harm_and_whole_numbers_of_any_width_understood() {
        let received = received(table([
            ("carteiro-a", AMQPValue::ShortShortInt(-1)),
            ("carteiro-b", AMQPValue::ShortUInt(2)),
            ("carteiro-c", AMQPValue::LongUInt(u32::MAX)),
            ("carteiro-d", AMQPValue::Boolean(true)),
            ("carteiro-e", AMQPValue::Double(1.5)),
            ("carteiro-f", AMQPValue::Void),
            ("carteiro-g", AMQPValue::ByteArray(ByteArray::from(vec![1_u8]))),
            ("carteiro-h", AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 2 })),
            ("carteiro-i", AMQPValue::LongString(vec![0xff].into())),
            ("carteiro-j", AMQPValue::FieldTable(FieldTable::default())),
        ]));
        let headers = &received.message.headers;
        let ints = ["carteiro-a", "carteiro-b", "carteiro-c"].map(|name| headers.int(name));
        assert_eq!(ints, [Some(-1), Some(2), Some(4_294_967_295)]);
        assert_eq!(headers.text("carteiro-i"), Some("\u{fffd}"));
        assert_eq!(headers.iter().count(), 4);
    }

    #[test]
    fn the_reason_of_the_last_death_is_shown_whatever_the_version_of_the_broker() {
        let death = |reason: &str| AMQPValue::FieldTable(table([("reason", AMQPValue::LongString(reason.into()))]));
        let deaths = AMQPValue::FieldArray(vec![death("delivery_limit"), death("expired")].into());
        let received = received(table([("x-death", deaths)]));
        assert_eq!(received.last_death, Some(HeaderValue::Text("delivery_limit".into())));
        assert_eq!(received.message.headers.iter().count(), 0, "it is the broker's, not the message's");
    }

    #[test]
    fn the_time_of_parking_is_that_of_the_last_death_or_of_publishing_or_of_the_end_of_the_wait() {
        let first_only = || table([(FIRST_DEATH, AMQPValue::LongString("expired".into()))]);
        let death = table([("reason", AMQPValue::LongString("expired".into())), ("time", AMQPValue::Timestamp(9))]);
        let dead = table([("x-death", AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()))]);
        let nothing = FieldTable::default();
        for (table, published, key, at) in [
            (&nothing, Some(5), "acme.7.-.ticket.created", Some(5_000)),
            (&nothing, Some(u64::MAX), "acme.7.-.ticket.created", Some(u64::MAX)),
            (&nothing, None, "acme.7.-.ticket.created", None),
            (&dead, Some(5), "30s.slow", Some(9_000)),
            (&first_only(), Some(5), "30s.slow", Some(35_000)),
            (&first_only(), Some(5), DELIVERY_LIMIT_KEY, None),
        ] {
            assert_eq!(parked_at(table, published, key), at, "{key}");
        }
    }

    #[test]
    fn a_name_longer_than_a_short_string_is_refused_instead_of_ending_the_process() {
        let message = Message { id: "x".repeat(256), ..Message::default() };
        assert_eq!(write(&message, MessageForm::Named, None, 0).err(), Some(PublishError::TooLarge));
    }

    #[test]
    fn a_delay_is_known_to_the_next_hop_and_hidden_from_the_consumer() {
        let delay = Delay { due: 1_790_000_009_000, whole: 9000 };
        let received = sent(&Message::default(), MessageForm::Named, Some(delay));
        assert_eq!(received.delay, Some(delay));
        assert_eq!(received.message.headers.int(DUE), Some(1_790_000_009_000));
        assert_eq!(received.message.headers.int(WAIT), None);
    }
}
