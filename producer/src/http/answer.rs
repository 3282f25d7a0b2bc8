//! What was refused, as a problem. No body, no token and no address of the broker is in any of them.

use std::time::Duration;

use broker::{ConnectionState, PublishError};
use schemas::{Refusal, RefusalKind};
use service::problem::{Code, Problem};
use store::Denied;

use crate::NotAccepted;

/// When to come back after being one too many.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// When to come back while something is away: a restart takes that long.
const LATER: Duration = Duration::from_secs(5);
/// How many refusals an answer lists.
const LISTED: usize = 100;

/// Why somebody may not, as they are told: not whether the tenant is another's.
pub(super) fn denied(denied: &Denied) -> Problem {
    match denied {
        Denied::Unauthenticated => Problem::new(Code::Unauthorized),
        Denied::Scope(_) => Problem::new(Code::Forbidden).detail(denied.to_string()),
        Denied::NoSuchTenant => Problem::new(Code::NotFound).detail("no such tenant for this key"),
        Denied::Away(_) => unavailable("the store is away"),
    }
}

/// That nothing can be published now, should that be so.
pub(super) fn unless_ready(link: &ConnectionState) -> Result<(), Problem> {
    match link {
        ConnectionState::Ready => Ok(()),
        ConnectionState::Away(_) => Err(unavailable("the broker is away; nothing was published")),
        ConnectionState::Blocked(_) => Err(unavailable("the broker takes nothing for now; nothing was published")),
    }
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(Code::Unavailable).detail(detail).retry_after(LATER)
}

impl From<NotAccepted> for Problem {
    fn from(not_accepted: NotAccepted) -> Self {
        let detail = not_accepted.to_string();
        match not_accepted {
            NotAccepted::Invalid { refusals, of } => invalid(&refusals, of),
            NotAccepted::TooLarge { pointer, .. } => Self::new(Code::PayloadTooLarge).error(pointer, detail),
            NotAccepted::Unconfirmed { error: PublishError::TooLarge, .. } => {
                Self::new(Code::PayloadTooLarge).detail("larger than the broker takes")
            }
            NotAccepted::Unconfirmed { confirmed, of, .. } => unavailable(unconfirmed(confirmed, of)),
        }
    }
}

fn unconfirmed(confirmed: usize, of: usize) -> String {
    let again = "send the whole again: events that bring their ids keep them, the others become new ones";
    format!("{confirmed} of {of} events were confirmed; {again}")
}

fn invalid(refusals: &[Refusal], of: usize) -> Problem {
    let whole = |refusal: &Refusal| refusal.kind == RefusalKind::Malformed && refusal.pointer.is_empty();
    let malformed = refusals.iter().any(whole);
    let problem = Problem::new(if malformed { Code::MalformedJson } else { Code::InvalidEvent });
    let listed = if refusals.len() > LISTED { format!("; the first {LISTED} are listed") } else { String::new() };
    let problem =
        problem.detail(format!("{} of {of} events are not valid, nothing was published{listed}", refusals.len()));
    refusals.iter().take(LISTED).fold(problem, |problem, refusal| problem.error(&refusal.pointer, &refusal.message))
}
