//! What travels: a body, its id and type, and a handful of headers.

use std::borrow::Cow;

use bytes::Bytes;

/// The header that says not before when, in unix milliseconds. The broker sets it itself on what is published with a
/// due time and takes it off what is published without one, so that it is never stale.
pub const DUE: &str = "carteiro-due";
/// The header that names the tenant.
pub const TENANT: &str = "carteiro-tenant";
/// The largest body that is taken: half of what RabbitMQ 3 takes by default, far above any event.
pub const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// One message. On AMQP: `message_id`, `type`, `headers`, body; always persistent and `application/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The event's id (AMQP `message_id`); empty where a foreign producer set none.
    pub id: String,
    /// The event's type (AMQP `type`); empty where a foreign producer set none.
    pub kind: String,
    /// The `carteiro-*` headers and the W3C trace context.
    pub headers: Headers,
    /// The bytes, untouched.
    pub body: Bytes,
}

/// A header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// A whole number (AMQP long-long-int).
    Int(i64),
    /// Text (AMQP long string).
    Text(Box<str>),
}

/// A message's headers. A short list beats a map for a dozen entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Header)>);

impl Headers {
    /// From whole numbers and texts, as the contract's types hand them out.
    pub fn new<'a>(
        ints: impl IntoIterator<Item = (&'static str, i64)>,
        texts: impl IntoIterator<Item = (&'static str, Cow<'a, str>)>,
    ) -> Self {
        let mut headers = Self(Vec::with_capacity(20));
        headers.0.extend(ints.into_iter().map(|(name, value)| (Cow::Borrowed(name), Header::Int(value))));
        headers.0.extend(
            texts.into_iter().map(|(name, value)| (Cow::Borrowed(name), Header::Text(value.into_owned().into()))),
        );
        headers
    }

    /// Sets one, replacing an earlier value.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Header) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// A whole number by name.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Header::Int(value) => Some(*value),
            Header::Text(_) => None,
        }
    }

    /// A text by name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Header::Text(value) => Some(value),
            Header::Int(_) => None,
        }
    }

    /// Whether all of these texts are among them.
    pub(crate) fn have(&self, texts: &[(&str, &str)]) -> bool {
        texts.iter().all(|(name, value)| self.text(name) == Some(*value))
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Header)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn get(&self, name: &str) -> Option<&Header> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

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
