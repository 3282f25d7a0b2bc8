//! Why what came in is no event.

use crate::ParkReason;

/// What is wrong with what came in, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}{}{message}", if pointer.is_empty() { "" } else { ": " })]
pub struct Refusal {
    /// What sort of wrong.
    pub kind: RefusalKind,
    /// Where: a JSON pointer (RFC 6901) such as `/ticket/id`; empty for the whole.
    pub pointer: String,
    /// What was expected.
    pub message: String,
}

/// What sort of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Not UTF-8, not JSON, or not an object.
    Malformed,
    /// A value of the wrong type or form.
    Invalid,
    /// Its id is not the one it came under.
    Identity,
}

impl RefusalKind {
    /// The reason it is parked for.
    pub fn park_reason(self) -> ParkReason {
        match self {
            Self::Malformed => ParkReason::Decode,
            Self::Invalid => ParkReason::Schema,
            Self::Identity => ParkReason::Identity,
        }
    }
}

impl Refusal {
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Malformed, pointer: String::new(), message: message.into() }
    }

    pub(crate) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Invalid, pointer: pointer.into(), message: message.into() }
    }

    /// The same, seen from the outside: `prefix` is the pointer to what was refused, such as `/events/3`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }

    /// Of a text that could not be deserialized as `T`; reads it a second time to find where.
    pub(crate) fn locate<'a, T: serde::Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Self {
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return Self::malformed(format!("not JSON: {error}"));
        }
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Ok(_) => Self::invalid("", without_position(error)),
            Err(located) => Self::invalid(pointer(located.path()), without_position(located.inner())),
        }
    }
}

/// The message without serde_json's ` at line 1 column 20`: the pointer says it better.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => {
            format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
        }
        Segment::Unknown => pointer,
    })
}
