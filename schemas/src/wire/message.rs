//! A message on the broker: a body, an id, a type, and a handful of headers.

use std::borrow::Cow;

use bytes::Bytes;

/// A message on the broker. On AMQP: `message_id`, `type`, `headers`, body; always persistent and `application/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Id of the event (AMQP `message_id`); empty if a foreign producer set none.
    pub id: String,
    /// Type of the event (AMQP `type`); empty if a foreign producer set none.
    pub kind: String,
    /// The `carteiro-*` headers and the W3C trace context.
    pub headers: Headers,
    pub body: Bytes,
}

impl Message {
    /// Bytes of all its parts: about what the message takes on a broker.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| match value {
            HeaderValue::Int(_) => name.len() + size_of::<i64>(),
            HeaderValue::Text(text) => name.len() + text.len(),
        });
        self.id.len() + self.kind.len() + headers.sum::<usize>() + self.body.len()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// A whole number (AMQP long-long-int).
    Int(i64),
    /// Text (AMQP long string).
    Text(Box<str>),
}

/// A message's headers. A list is faster than a map for a dozen entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, HeaderValue)>);

impl Headers {
    pub fn new<'a>(
        ints: impl IntoIterator<Item = (&'static str, i64)>,
        texts: impl IntoIterator<Item = (&'static str, Cow<'a, str>)>,
    ) -> Self {
        let mut headers = Self(Vec::with_capacity(20));
        headers.0.extend(ints.into_iter().map(|(name, value)| (Cow::Borrowed(name), HeaderValue::Int(value))));
        headers.0.extend(
            texts.into_iter().map(|(name, value)| (Cow::Borrowed(name), HeaderValue::Text(value.into_owned().into()))),
        );
        headers
    }

    /// Sets a header, and replaces an earlier value.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: HeaderValue) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            HeaderValue::Int(value) => Some(*value),
            HeaderValue::Text(_) => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            HeaderValue::Text(value) => Some(value),
            HeaderValue::Int(_) => None,
        }
    }

    /// True when the headers include all of these texts.
    pub fn have(&self, texts: &[(&str, &str)]) -> bool {
        texts.iter().all(|(name, value)| self.text(name) == Some(*value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}
