//! What can be wrong with a topology, and lapin's errors in words without credentials.

use lapin::{ErrorKind, protocol::AMQPError};

/// The argument of a stream that says how many bytes it keeps.
pub(super) const MAX_LENGTH_BYTES: &str = "x-max-length-bytes";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// An entity is missing, and `broker.declare` is false.
    #[error("{entity} is missing: run `carteiro topology apply`")]
    Missing { entity: String },
    /// An entity exists with another argument. Nothing is ever deleted to change that.
    #[error("{entity} exists with another {argument}: {detail}")]
    Mismatch { entity: String, argument: String, detail: String },
    /// A log has another size than the configuration says. Records come and go nevertheless.
    #[error("{entity} keeps the size with which it was declared, unless a policy sets max-length-bytes: {detail}")]
    LogSize { entity: String, detail: String },
    #[error("{entity} does not work: {detail}")]
    Broken { entity: String, detail: String },
    /// The binding from the public exchange to the intake is missing, by itself or by `topology drain`.
    #[error(
        "{binding} is missing: the intake is closed, by `carteiro topology drain` or by hand, and events are parked as \
         `unroutable`; `carteiro topology apply` opens it"
    )]
    IntakeClosed { binding: String },
    /// The user's rights, or what goes on on the broker, do not show it.
    #[error("{entity} could not be checked: {detail}")]
    Unchecked { entity: String, detail: String },
    #[error("no right to declare {entity}: {detail}")]
    Refused { entity: String, detail: String },
    #[error("the broker is away: {0}")]
    Away(String),
}

impl TopologyError {
    /// True when only a change of the broker or the configuration can help.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Away(_) | Self::LogSize { .. } | Self::Unchecked { .. })
    }

    pub(super) fn on(entity: String, error: &lapin::Error) -> Self {
        let Some(refusal) = refusal(error) else { return Self::Away(describe(error)) };
        let detail = refusal.get_message().to_string();
        match refusal.get_id() {
            404 => Self::Missing { entity },
            // Only the streams of the logs have this argument.
            406 if argument(&detail) == MAX_LENGTH_BYTES => Self::LogSize { entity, detail },
            406 => Self::Mismatch { entity, argument: argument(&detail), detail },
            403 => Self::Refused { entity, detail },
            _ => Self::Away(describe(error)),
        }
    }
}

pub(super) fn refusal(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error),
        _ => None,
    }
}

/// An error in words. The broker's texts name users at most, never passwords.
pub(super) fn describe(error: &lapin::Error) -> String {
    match refusal(error) {
        Some(refusal) if refusal.get_id() == 403 => format!("access refused: {}", refusal.get_message()),
        Some(refusal) => refusal.get_message().to_string(),
        None => error.to_string(),
    }
}

/// As [`describe`], but names the right that is missing: before 3.11 the broker names only the entity
/// (docs/rabbitmq.md#a-refused-right).
pub(super) fn describe_without(right: &str, error: &lapin::Error) -> String {
    match refusal(error) {
        Some(refusal) if refusal.get_id() == 403 => format!("no right to {right}: {}", refusal.get_message()),
        _ => describe(error),
    }
}

/// The argument that differs: the first quoted word of `inequivalent arg 'x-message-ttl' for queue …`.
fn argument(detail: &str) -> String {
    detail.split('\'').nth(1).unwrap_or("definition").to_owned()
}

/// The number that an argument has on the broker: the quoted word of `… but current is '1'`, or, in newer versions, of
/// `… but current is the value '1' of type 'long'`. `None` if it has none.
pub(super) fn current_value(detail: &str) -> Option<i64> {
    let (_, current) = detail.split_once("but current is ")?;
    current.split('\'').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_differing_argument_is_found_in_the_brokers_words() {
        let detail = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '1'";
        assert_eq!(argument(detail), "x-message-ttl");
        assert_eq!(argument("PRECONDITION_FAILED"), "definition");
    }

    #[test]
    fn the_value_that_a_queue_has_is_found_in_the_brokers_words() {
        let told = |current: &str| {
            format!("inequivalent arg 'x' for queue 'q' in vhost '/': received '2' but current is {current}")
        };
        assert_eq!(current_value(&told("'17'")), Some(17));
        assert_eq!(current_value(&told("the value '17' of type 'signedint'")), Some(17));
        assert_eq!(current_value(&told("none")), None);
    }
}
