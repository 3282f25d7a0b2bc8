//! What was refused, as a problem.

use std::time::Duration;

use service::problem::{Code, Problem};
use store::Denied;

use crate::NotStarted;

/// When to come back while something is away.
const SOON: Duration = Duration::from_secs(1);

/// Why somebody may not, as they are told: not whether the tenant is another's.
pub(super) fn problem(denied: &Denied) -> Problem {
    match denied {
        Denied::Unauthenticated => Problem::new(Code::Unauthorized),
        Denied::Scope(_) => Problem::new(Code::Forbidden).detail(denied.to_string()),
        Denied::NoSuchTenant => Problem::new(Code::NotFound).detail("no such tenant for this key"),
        Denied::Away(_) => Problem::new(Code::Unavailable).detail("the store is away").retry_after(SOON),
    }
}

impl From<NotStarted> for Problem {
    fn from(not_started: NotStarted) -> Self {
        let code = match &not_started {
            NotStarted::Unread(_) => Code::Unavailable,
            NotStarted::TooMany => Code::TooManyRequests,
        };
        Self::new(code).detail(not_started.to_string()).retry_after(SOON)
    }
}
