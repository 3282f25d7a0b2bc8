//! The public routing key of an event: `<tenant>.<channel>.<queue>.<entity>.<action>`.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::EventFacts;

/// Longest routing key, in bytes: AMQP 0-9-1 carries it as a short string.
const MAX_BYTES: usize = 255;

/// The key of a tenant's event; none when it would be longer than 255 bytes or an id is empty.
pub fn routing_key(tenant: &str, facts: &EventFacts<'_>) -> Option<String> {
    if facts.channel_id == Some("") || facts.queue_id == Some("") {
        return None;
    }
    let key = format!("{}.{}.{}.{}", escape(tenant), part(facts.channel_id), part(facts.queue_id), facts.event_type);
    (key.len() <= MAX_BYTES).then_some(key)
}

/// The tenant of a key: its first part, unescaped.
pub fn tenant_of(key: &str) -> Option<String> {
    let (tenant, _) = key.split_once('.')?;
    unescape(tenant).filter(|tenant| !tenant.is_empty())
}

fn part(id: Option<&str>) -> String {
    match id {
        None => "-".to_owned(),
        Some("-") => "%2D".to_owned(),
        Some(id) => escape(id),
    }
}

/// The reverse of [`escape`]; none when the result is not UTF-8.
pub fn unescape(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Percent-encodes separators, wildcards, percent signs, white space and control characters.
pub fn escape(text: &str) -> String {
    let needs_it = |c: char| matches!(c, '.' | '*' | '#' | '%') || c.is_whitespace() || c.is_control();
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_it(c) {
            escaped.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
