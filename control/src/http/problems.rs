//! Problems for requests that the store, the broker or a limit refuses.

use std::time::Duration;

use service::problem::{Code, Problem};
use store::{Denied, EditError, EditRefusal, StoreError};

use crate::{CountError, NotStarted, history::fields::InvalidField};

/// Pause after which a caller should try again while something is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Explains why access is denied. Callers of other tenants do not learn whether the tenant exists.
pub(super) fn denied(denied: &Denied) -> Problem {
    match denied {
        Denied::Unauthenticated => Problem::new(Code::Unauthorized),
        Denied::Scope(_) => Problem::new(Code::Forbidden).detail(denied.to_string()),
        Denied::NoSuchTenant(_) | Denied::OtherTenant => Problem::new(Code::NotFound).detail(denied.to_string()),
        Denied::Away(error) => store_unavailable(error),
    }
}

/// Reports that the store does not answer. An edit may have been carried out nevertheless.
pub(super) fn store_unavailable(_: &StoreError) -> Problem {
    Problem::new(Code::Unavailable).detail("the store is away").retry_after(RETRY_AFTER)
}

/// Reports that the store does not say how much was used: it is away, or the question took too long.
pub(super) fn usage_unavailable(_: &StoreError) -> Problem {
    let why = "the store is away, or did not answer in time: ask for fewer days";
    Problem::new(Code::Unavailable).detail(why).retry_after(RETRY_AFTER)
}

pub(super) fn log_unavailable() -> Problem {
    Problem::new(Code::Unavailable).detail("it cannot be read now").retry_after(RETRY_AFTER)
}

pub(super) fn not_counted(error: &CountError) -> Problem {
    match error {
        CountError::Busy => Problem::new(Code::TooManyRequests).detail(error.to_string()).retry_after(RETRY_AFTER),
        CountError::Lanes(_) | CountError::Usage(_) => log_unavailable(),
    }
}

pub(super) fn publish_failed() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("the broker confirmed nothing; it can be done again")
        .retry_after(RETRY_AFTER)
}

pub(super) fn edit_failed(error: EditError) -> Problem {
    match error {
        EditError::Refused(refused) => edit_refused(&refused),
        EditError::ReadOnly => Problem::new(Code::Conflict).detail(error.to_string()),
        EditError::Away(error) => store_unavailable(&error),
    }
}

fn edit_refused(refused: &EditRefusal) -> Problem {
    match refused {
        EditRefusal::NoSuch(_) => Problem::new(Code::NotFound).detail(refused.to_string()),
        EditRefusal::Stale => Problem::new(Code::PreconditionFailed),
        EditRefusal::Conflict(why) => Problem::new(Code::Conflict).detail(why),
        EditRefusal::Quota(why) => Problem::new(Code::QuotaReached).detail(why),
        // Decisions validate by themselves, with pointers into the request, so that only clashes which the store alone
        // can see remain.
        EditRefusal::Invalid(found) => {
            found.iter().fold(Problem::new(Code::InvalidBody), |problem, found| problem.error("", found.to_string()))
        }
    }
}

impl From<InvalidField> for Problem {
    fn from(invalid: InvalidField) -> Self {
        Self::new(Code::InvalidParameter).detail(invalid.to_string())
    }
}

impl From<NotStarted> for Problem {
    fn from(not_started: NotStarted) -> Self {
        match not_started {
            NotStarted::Unread(_) => log_unavailable(),
            NotStarted::NotStored(error) => store_unavailable(&error),
            NotStarted::TooSlow => {
                Self::new(Code::Unavailable).detail(not_started.to_string()).retry_after(RETRY_AFTER)
            }
            NotStarted::NoReceiver(..) => Self::new(Code::Conflict).detail(not_started.to_string()),
            NotStarted::TooMany | NotStarted::Busy => {
                Self::new(Code::TooManyRequests).detail(not_started.to_string()).retry_after(RETRY_AFTER)
            }
        }
    }
}
