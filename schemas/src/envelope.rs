//! An accepted event: decoded, with missing keys added, and its text.
//!
//! Two formats use that text instead of [`Event`]: `canonical` keeps unknown keys, their order and the spelling of
//! numbers; `original` is the platform's own body.

use std::borrow::Cow;

use crate::{
    Acceptance, Event, EventId, Id, Opaque, Refusal, RefusalKind, Warning,
    json_text::{Scanner, compact, is_key, is_surely_shallow, may_have_key, members, without_secrets},
    pointer::to_member,
    time::{is_canonical, rfc3339, unix_ms},
    warning,
};

/// Deepest nesting of an envelope: the limit of common JSON parsers, because receivers parse it, too.
pub const MAX_DEPTH: usize = 128;

#[derive(Debug)]
pub struct Envelope<'a> {
    /// The decoded event. `id`, `occurred_at` (in UTC with three decimals) and the tenant's id are always set; the
    /// secrets of `api_config` are removed.
    pub event: Event,
    pub id: EventId,
    /// The event's `occurred_at`, in unix milliseconds.
    pub occurred_at_ms: u64,
    text: &'a str,
    original: Original<'a>,
}

#[derive(Debug)]
enum Original<'a> {
    /// The key is missing: the event came in canonical form, and the envelope is the original.
    Envelope,
    /// The vendor's body, as a JSON string.
    Body(&'a str),
    /// The vendor's body was not kept (`keep_original: false` of the source).
    Withheld,
}

impl<'a> Envelope<'a> {
    /// Decodes a body that was published or posted. Fails when it is not a JSON object, a value has the wrong type or
    /// form, or the id contradicts `acceptance`.
    pub fn decode(body: &'a [u8], acceptance: &Acceptance) -> Result<Self, Refusal> {
        let text = object_text(body)?;
        let mut event: Event = serde_json::from_str(text).map_err(|error| Refusal::locate::<Event>(text, &error))?;
        let original = Original::find(text)?;
        if event.id.as_deref().is_some_and(|id| id != acceptance.id.as_str()) {
            let message = format!("differs from {:?}, under which it came", acceptance.id.as_str());
            return Err(Refusal { kind: RefusalKind::Identity, ..Refusal::invalid("/id", message) });
        }
        let occurred_at_ms = event.occurred_at.as_deref().and_then(unix_ms).unwrap_or(acceptance.accepted_at);
        event.id = Some(acceptance.id.to_string());
        if !event.occurred_at.as_deref().is_some_and(is_canonical) {
            event.occurred_at = Some(rfc3339(occurred_at_ms));
        }
        event.tenant.id.get_or_insert_with(|| Id::from_text(acceptance.tenant.as_str()));
        redact_api_config(&mut event)?;
        Ok(Self { event, id: acceptance.id.clone(), occurred_at_ms, text, original })
    }

    /// Warnings about the event as it came: misspelt keys and types, unknown words.
    pub fn warnings(&self) -> Vec<Warning> {
        warning::of_event(self.text, &self.event)
    }

    /// The accepted envelope as compact JSON: the same keys, order and spelling, with missing `id` and `occurred_at`
    /// added in front, and without `original` and the secrets of `api_config`.
    pub fn canonical(&self) -> String {
        let id = format!("\"{}\"", self.id);
        let occurred_at = format!("\"{}\"", self.event.occurred_at.as_deref().unwrap_or_default());
        let has = |name| members(self.text).any(|(key, _)| is_key(key, name));
        let added = [("\"id\"", &id), ("\"occurred_at\"", &occurred_at)];
        let added = added.into_iter().filter(|(key, _)| !has(key.trim_matches('"')));
        let added = added.map(|(key, value)| (key, Cow::Borrowed(value.as_str())));
        let kept = members(self.text).filter(|(key, _)| !is_key(key, "original"));
        let kept = kept.map(|(key, value)| match value {
            "null" if is_key(key, "id") => (key, Cow::Borrowed(id.as_str())),
            "null" if is_key(key, "occurred_at") => (key, Cow::Borrowed(occurred_at.as_str())),
            _ if is_key(key, "ticket") => (key, ticket(value)),
            _ => (key, compact(value)),
        });
        let mut text = String::with_capacity(self.text.len() + 96);
        write_object(added.chain(kept), &mut text);
        text
    }

    /// The platform's own body; none when the source does not keep it.
    pub fn original(&self) -> Option<Cow<'a, [u8]>> {
        match self.original {
            Original::Envelope => Some(Cow::Borrowed(self.text.as_bytes())),
            Original::Body(json) => serde_json::from_str::<String>(json).ok().map(|body| Cow::Owned(body.into_bytes())),
            Original::Withheld => None,
        }
    }
}

/// The body as text, if it is UTF-8 and begins like a JSON object.
pub(crate) fn object_text(body: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::malformed(format!("not UTF-8: {error}")))?;
    require_object(text).map(|()| text)
}

pub(crate) fn require_object(text: &str) -> Result<(), Refusal> {
    if text.trim_ascii_start().starts_with('{') { Ok(()) } else { Err(Refusal::malformed("not a JSON object")) }
}

/// Checks, in an envelope that is valid JSON, what its keys do not say: its depth, and its original.
pub(crate) fn check_rest(text: &str) -> Result<(), Refusal> {
    Original::find(text).map(drop)
}

impl<'a> Original<'a> {
    /// Finds the original in an envelope that is valid JSON, and checks the depth.
    fn find(text: &'a str) -> Result<Self, Refusal> {
        // Most events are found to be shallow and without an original much faster than their members are walked over.
        if is_surely_shallow(text, MAX_DEPTH) && !may_have_key(text, "original") {
            return Ok(Self::Envelope);
        }
        let mut scanner = Scanner::new(text);
        let mut original = None;
        while let Some((key, value)) = scanner.member() {
            if scanner.deepest() > MAX_DEPTH {
                let name = serde_json::from_str::<String>(key).unwrap_or_default();
                return Err(Refusal::invalid(to_member(&name), format!("nested deeper than {MAX_DEPTH}")));
            }
            if is_key(key, "original") {
                original = Some(Self::of(value)?);
            }
        }
        Ok(original.unwrap_or(Self::Envelope))
    }

    fn of(value: &'a str) -> Result<Self, Refusal> {
        // Only an escaped surrogate can make a valid JSON string unreadable. Searching for it is cheaper than
        // unescaping.
        let is_readable = || !value.contains("\\u") || serde_json::from_str::<String>(value).is_ok();
        match value {
            "null" => Ok(Self::Withheld),
            _ if value.starts_with('"') && is_readable() => Ok(Self::Body(value)),
            _ => Err(Refusal::invalid("/original", "expected a string or null")),
        }
    }
}

fn redact_api_config(event: &mut Event) -> Result<(), Refusal> {
    let Some(api_config) = event.ticket.as_mut().and_then(|ticket| ticket.api_config.as_mut()) else { return Ok(()) };
    if let Cow::Owned(redacted) = without_secrets(api_config.json()) {
        *api_config = Opaque::from_json(&redacted).map_err(|error| Refusal::malformed(error.to_string()))?;
    }
    Ok(())
}

fn ticket(json: &str) -> Cow<'_, str> {
    let compacted = compact(json);
    if !members(&compacted)
        .any(|(key, value)| is_key(key, "api_config") && matches!(without_secrets(value), Cow::Owned(_)))
    {
        return compacted;
    }
    let mut text = String::with_capacity(compacted.len());
    let redacted = members(&compacted).map(|(key, value)| {
        (key, if is_key(key, "api_config") { without_secrets(value) } else { Cow::Borrowed(value) })
    });
    write_object(redacted, &mut text);
    Cow::Owned(text)
}

fn write_object<'a>(members: impl Iterator<Item = (&'a str, Cow<'a, str>)>, to: &mut String) {
    to.push('{');
    for (at, (key, value)) in members.enumerate() {
        if at > 0 {
            to.push(',');
        }
        to.push_str(key);
        to.push(':');
        to.push_str(&value);
    }
    to.push('}');
}

#[cfg(test)]
mod tests;
