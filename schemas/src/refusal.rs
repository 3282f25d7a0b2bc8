//! The error for an event that cannot be accepted.

use crate::{ParkReason, pointer::to_member};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}{}{message}", if pointer.is_empty() { "" } else { ": " })]
pub struct Refusal {
    pub kind: RefusalKind,
    /// JSON pointer (RFC 6901) to the invalid value, such as `/ticket/id`; empty for the whole body.
    pub pointer: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The body is not UTF-8, not JSON, or not an object.
    Malformed,
    /// A value has the wrong type or form.
    Invalid,
    /// Id or tenant are missing or contradictory.
    Identity,
}

impl RefusalKind {
    pub fn park_reason(self) -> ParkReason {
        match self {
            Self::Malformed => ParkReason::Decode,
            Self::Invalid => ParkReason::Schema,
            Self::Identity => ParkReason::Identity,
        }
    }
}

impl Refusal {
    /// True when the body cannot be read at all, rather than a value in it.
    pub fn is_of_the_whole(&self) -> bool {
        self.kind == RefusalKind::Malformed && self.pointer.is_empty()
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Malformed, pointer: String::new(), message: message.into() }
    }

    pub(crate) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Invalid, pointer: pointer.into(), message: message.into() }
    }

    /// `pointer` is the place of an invalid value, or of a missing key.
    fn at(pointer: String, message: String) -> Self {
        match missing(&message) {
            Some(key) => Self::invalid(pointer + &to_member(key), "is required"),
            None => Self::invalid(pointer, message),
        }
    }

    /// Puts the pointer below `prefix`, the pointer to the event itself, such as `/events/3`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }

    /// Explains why a text could not be deserialized as `T`. Parses the text again to find the place.
    pub(crate) fn locate<'a, T: serde::Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Self {
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return Self::malformed(format!("not JSON: {error}"));
        }
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Ok(_) => Self::invalid("", wording(error)),
            Err(located) => Self::at(pointer(located.path()), wording(located.inner())),
        }
    }
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The message of serde_json without its ` at line 1 column 20`, which the pointer replaces, and without the found
/// value, because no part of a body may enter an error text.
fn wording(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    match found.split_once("invalid type: ").or_else(|| found.split_once("invalid value: ")) {
        // serde quotes the value after its type: `string "x"`, `integer `5``.
        Some((context, found)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{context}expected {expected}, found {kind}")
        }
        None if found.contains("unknown variant") => format!("expected {expected}"),
        None => text.to_owned(),
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => pointer + &to_member(key),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_types_and_never_a_value() {
        let table = [
            (r#"{"type":"S3CRET"}"#, "/type"),
            (r#"{"id":"S3CRET"}"#, "/type"),
            (r#"{"type":"a.b","spec":"S3CRET"}"#, "/spec"),
            (r#"{"type":"a.b","ticket":"S3CRET, expected S3CRET"}"#, "/ticket"),
            (r#"{"type":"a.b","ticket":{"is_group":"S3\"CRET"}}"#, "/ticket/is_group"),
            (r#"{"type":"a.b","message":{"direction":"S3CRET"}}"#, "/message/direction"),
            (r#"{"type":"a.b","change":{"kind":"S3CRET"}}"#, "/change"),
            (r#"{"type":"a.b","change":{"kind":"tags","to":"S3CRET"}}"#, "/change"),
        ];
        for (text, pointer) in table {
            let error = serde_json::from_str::<crate::Event>(text).unwrap_err();
            let refusal = Refusal::locate::<crate::Event>(text, &error);
            assert_eq!(refusal.pointer, pointer);
            assert!(!refusal.to_string().contains("S3"), "{refusal}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_found() {
        let text = r#"{"type":"a.b","ticket":{"unread_messages":"many"}}"#;
        let error = serde_json::from_str::<crate::Event>(text).unwrap_err();
        let refusal = Refusal::locate::<crate::Event>(text, &error);
        assert_eq!(refusal.to_string(), "/ticket/unread_messages: expected i64, found string");
    }
}
