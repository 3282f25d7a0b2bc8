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
    let event_type = facts.event_type.as_str();
    let mut key = String::with_capacity(64);
    push_escaped(tenant, &mut key);
    for id in [facts.channel_id, facts.queue_id] {
        key.push('.');
        match id {
            None => key.push('-'),
            Some("-") => key.push_str("%2D"),
            Some(id) => push_escaped(id, &mut key),
        }
    }
    key.push('.');
    key.push_str(event_type);
    (key.len() <= MAX_BYTES).then_some(key)
}

/// The tenant of a key: its first part, unescaped.
pub fn tenant_of(key: &str) -> Option<String> {
    let (tenant, _) = key.split_once('.')?;
    unescape(tenant).filter(|tenant| !tenant.is_empty())
}

/// The reverse of [`escape`]; none when the result is not UTF-8.
pub fn unescape(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Percent-encodes separators, wildcards, percent signs, white space and control characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(text, &mut escaped);
    escaped
}

fn push_escaped(text: &str, to: &mut String) {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return to.push_str(text);
    }
    let needs_it = |c: char| matches!(c, '.' | '*' | '#' | '%') || c.is_whitespace() || c.is_control();
    for c in text.chars() {
        if needs_it(c) {
            to.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC));
        } else {
            to.push(c);
        }
    }
}

#[cfg(test)]
mod tests;
