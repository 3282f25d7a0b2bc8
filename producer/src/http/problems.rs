//! Converts refusals to problems, which never hold a body, a token or an address of the broker.

use std::time::Duration;

use broker::{ConnectionState, PublishError};
use schemas::Refusal;
use service::problem::{Code, Problem};
use store::Denied;

use crate::NotAccepted;

pub(super) const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);
/// Time to a retry while the broker or the store is unreachable: the duration of a restart.
const RETRY_WHEN_AWAY: Duration = Duration::from_secs(5);
/// Largest number of refusals in an answer.
const MAX_LISTED: usize = 100;

/// Explains why a request is denied, without revealing whether the tenant exists.
pub(super) fn denied(denied: &Denied) -> Problem {
    match denied {
        Denied::Unauthenticated => Problem::new(Code::Unauthorized),
        Denied::Scope(_) => Problem::new(Code::Forbidden).detail(denied.to_string()),
        Denied::NoSuchTenant(_) | Denied::OtherTenant => Problem::new(Code::NotFound).detail(denied.to_string()),
        Denied::Away(_) => unavailable("the store is away"),
    }
}

pub(super) fn check_broker(connection: &ConnectionState) -> Result<(), Problem> {
    match connection {
        ConnectionState::Ready => Ok(()),
        ConnectionState::Away(_) => Err(unavailable("the broker is away; nothing was published")),
        ConnectionState::Blocked(_) => Err(unavailable("the broker takes nothing for now; nothing was published")),
    }
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(Code::Unavailable).detail(detail).retry_after(RETRY_WHEN_AWAY)
}

impl From<NotAccepted> for Problem {
    fn from(not_accepted: NotAccepted) -> Self {
        let detail = not_accepted.to_string();
        match not_accepted {
            NotAccepted::Invalid { refusals, of } => invalid(&refusals, of),
            NotAccepted::Warned { warnings } => Self::warned(&warnings[..warnings.len().min(MAX_LISTED)]),
            NotAccepted::IdTaken { pointers, .. } => id_taken(&pointers, &detail),
            NotAccepted::TooLarge { pointer, .. } => Self::new(Code::PayloadTooLarge).error(pointer, detail),
            NotAccepted::Unconfirmed { error: PublishError::TooLarge, .. } => {
                Self::new(Code::PayloadTooLarge).detail("larger than the broker takes")
            }
            NotAccepted::Unconfirmed { error: PublishError::Full(_), confirmed, of } => {
                let detail = format!("too much waits to be delivered; {}", unconfirmed(confirmed, of));
                Self::new(Code::StorageFull).detail(detail).retry_after(RETRY_WHEN_AWAY)
            }
            NotAccepted::Unconfirmed { error: PublishError::Unroutable, confirmed, of } => {
                let why = "the intake is closed until an operator opens it";
                unavailable(format!("{why}; {}", unconfirmed(confirmed, of)))
            }
            NotAccepted::Unconfirmed { confirmed, of, .. } => unavailable(unconfirmed(confirmed, of)),
        }
    }
}

fn unconfirmed(confirmed: usize, of: usize) -> String {
    let again = "send the whole again: events that bring their ids keep them, the others become new ones";
    format!("{confirmed} of {of} events were confirmed; {again}")
}

fn id_taken(pointers: &[String], detail: &str) -> Problem {
    let problem = Problem::new(Code::EventIdTaken).detail(format!("{detail}; nothing was published"));
    let message = "another event has this id; a repeat must have the same bytes";
    pointers.iter().take(MAX_LISTED).fold(problem, |problem, pointer| problem.error(pointer, message))
}

fn invalid(refusals: &[Refusal], of: usize) -> Problem {
    let malformed = refusals.iter().any(Refusal::is_of_the_whole);
    let problem = Problem::new(if malformed { Code::MalformedJson } else { Code::InvalidEvent });
    let listed =
        if refusals.len() > MAX_LISTED { format!("; the first {MAX_LISTED} are listed") } else { String::new() };
    let problem =
        problem.detail(format!("{} of {of} events are not valid, nothing was published{listed}", refusals.len()));
    refusals.iter().take(MAX_LISTED).fold(problem, |problem, refusal| problem.error(&refusal.pointer, &refusal.message))
}
