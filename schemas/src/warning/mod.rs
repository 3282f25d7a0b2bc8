//! Warnings: what is accepted, and probably a mistake. They are pure findings about an event, a vendor's body or a
//! subscription. A warning names a place and never a value, because values are foreign text.

mod event;
mod subscription;

use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use event::of_event;

/// What is accepted, and probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Warning {
    /// Kind of the mistake.
    pub code: WarningCode,
    /// JSON pointer (RFC 6901) to the place, such as `/ticket/status`; empty for the whole body.
    pub pointer: String,
    /// One sentence about what is probably wrong.
    pub message: String,
}

/// Kind of a probable mistake. The list is closed: programs may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// A key that nothing reads, and that nearly is one that is read.
    UnknownKey,
    /// An event type that nearly is a known one.
    UnknownType,
    /// A word that is none of those that are compared.
    UnknownWord,
    /// A vendor's body that is read as `vendor.unknown`.
    UnknownBody,
    /// A subscription, or a part of it, that no event can match.
    NeverMatches,
    /// A condition that has no effect.
    NoEffect,
    /// Events that the endpoint's format does not have.
    NotInFormat,
    /// Events without a channel, where subscriptions want certain channels.
    NoChannel,
}

impl Warning {
    pub fn new(code: WarningCode, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), message: message.into() }
    }

    /// Puts the pointer below `prefix`, the pointer to the event itself, such as `/events/3`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// What becomes of a request with warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// It is accepted, and its answer has the warnings.
    #[default]
    Lenient,
    /// It is refused.
    Strict,
}

impl Strictness {
    pub fn refuses(self, warnings: &[Warning]) -> bool {
        self == Self::Strict && !warnings.is_empty()
    }
}

#[cfg(test)]
mod tests;
