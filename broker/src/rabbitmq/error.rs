//! What can be wrong with a broker's topology, and lapin's errors in words that carry no credentials.

use lapin::{ErrorKind, protocol::AMQPError};

/// The topology is not as it must be, or could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// It is not there, and `broker.declare` is false.
    #[error("{entity} is missing: run `carteiro topology apply`")]
    Missing {
        /// `queue x` or `exchange x`.
        entity: String,
    },
    /// It is there with another argument; nothing is ever deleted to change that.
    #[error("{entity} exists with another {argument}: {detail}")]
    Mismatch {
        /// `queue x` or `exchange x`.
        entity: String,
        /// The argument's name.
        argument: String,
        /// Both values, as the broker says it.
        detail: String,
    },
    /// It is there, but does not do what it should.
    #[error("{entity} does not work: {detail}")]
    Broken {
        /// What was tried.
        entity: String,
        /// What happened.
        detail: String,
    },
    /// This user may not look at it or declare it.
    #[error("no right to declare {entity}: {detail}")]
    Refused {
        /// `queue x` or `exchange x`.
        entity: String,
        /// As the broker says it.
        detail: String,
    },
    /// The broker could not be asked.
    #[error("the broker is away: {0}")]
    Away(String),
}

impl TopologyError {
    /// Whether trying again cannot help, since someone has to change the broker or the configuration first.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Away(_))
    }

    /// What an operation on `entity` met.
    pub(super) fn on(entity: String, error: &lapin::Error) -> Self {
        let Some(refusal) = refusal(error) else { return Self::Away(describe(error)) };
        let detail = refusal.get_message().to_string();
        match refusal.get_id() {
            404 => Self::Missing { entity },
            406 => Self::Mismatch { entity, argument: argument(&detail), detail },
            403 => Self::Refused { entity, detail },
            _ => Self::Away(describe(error)),
        }
    }
}

/// What the broker itself objected to, if it did.
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

/// As [`describe`], and which right is missing where that is it: before 3.11 the broker names the entity alone.
pub(super) fn describe_without(right: &str, error: &lapin::Error) -> String {
    match refusal(error) {
        Some(refusal) if refusal.get_id() == 403 => format!("no right to {right}: {}", refusal.get_message()),
        _ => describe(error),
    }
}

/// `inequivalent arg 'x-message-ttl' for queue …`: the first quoted word.
fn argument(detail: &str) -> String {
    detail.split('\'').nth(1).unwrap_or("definition").to_owned()
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
}
