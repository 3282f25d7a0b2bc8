//! The one decision: what follows from an outcome. It is a pure function; time and chance are arguments.

use broker::Due;
use schemas::{DeadReason, OutcomeClass, RetryPolicy};

use crate::outcome::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    Retry(Due),
    Dead(DeadReason),
}

/// What has been spent on a delivery so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Attempts, this one included.
    pub(crate) attempts: u32,
    /// Unix ms from which the age counts.
    pub(crate) accepted_at: u64,
}

/// Longest wait in ms that a receiver may ask for: a day. A longer one is a mistake.
const RETRY_AFTER_MAX: u64 = 24 * 3_600_000;
/// Longest age, in ms, of a delivery that the receiver refuses: a day. A flow that is switched off, or a wrong address,
/// is corrected within a day or not at all.
const REFUSED_MAX_AGE: u64 = 24 * 3_600_000;
/// Largest part by which a scheduled wait varies, so that deliveries that failed together do not return together.
const JITTER: f64 = 0.2;

/// Decides what follows from an outcome. `now` is unix ms, `chance` is in `[0, 1)`.
pub(crate) fn decide(outcome: &Outcome, spent: Spent, policy: &RetryPolicy, now: u64, chance: f64) -> Verdict {
    match outcome.class {
        OutcomeClass::Success => Verdict::Delivered,
        OutcomeClass::Gone => Verdict::Dead(DeadReason::Permanent),
        OutcomeClass::ClientError | OutcomeClass::Redirect | OutcomeClass::BlockedIp => {
            retry(outcome, spent, policy, policy.max_age.millis().min(REFUSED_MAX_AGE), now, chance)
        }
        OutcomeClass::TooMany
        | OutcomeClass::ServerError
        | OutcomeClass::Timeout
        | OutcomeClass::Connect
        | OutcomeClass::Dns
        | OutcomeClass::Tls
        | OutcomeClass::Malformed => retry(outcome, spent, policy, policy.max_age.millis(), now, chance),
    }
}

fn retry(outcome: &Outcome, spent: Spent, policy: &RetryPolicy, max_age: u64, now: u64, chance: f64) -> Verdict {
    let step = usize::try_from(spent.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(scheduled) = policy.schedule.get(step) else { return Verdict::Dead(DeadReason::Exhausted) };
    let scheduled = (scheduled.millis() as f64 * (1.0 - JITTER + 2.0 * JITTER * chance)) as u64;
    let asked = outcome.retry_after.map_or(0, |asked| asked.delay_ms(now).min(RETRY_AFTER_MAX));
    let at = now.saturating_add(scheduled.max(asked));
    if at > spent.accepted_at.saturating_add(max_age) {
        return Verdict::Dead(DeadReason::Expired);
    }
    Verdict::Retry(Due { at, exact: asked > scheduled })
}

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
