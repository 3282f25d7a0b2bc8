//! What follows from an outcome: one pure function. Time and chance are arguments.

use broker::Due;
use schemas::{DeadReason, OutcomeClass, RetryPolicy};

use crate::outcome::Outcome;

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Delivered,
    /// It is tried again.
    Retry(Due),
    /// It ends without a 2xx.
    Dead(DeadReason),
}

/// What has been spent on a delivery so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Attempts made, this one included.
    pub attempts: u32,
    /// Unix ms: the start of its age.
    pub accepted_at: u64,
}

/// What a receiver may ask us to wait, at most: a day. Longer waits are somebody's mistake.
const RETRY_AFTER_MAX: u64 = 24 * 3_600_000;
/// How long a refusal is worth repeating: a flow that is off, a wrong address or a forbidden one gets fixed within a
/// day or not at all.
const REFUSED_MAX_AGE: u64 = 24 * 3_600_000;
/// A scheduled wait is varied by up to this much in both directions, so that what failed together does not return
/// together.
const JITTER: f64 = 0.2;

/// Decides. `now` is unix ms, `chance` in `[0, 1)`.
pub fn decide(outcome: &Outcome, spent: Spent, policy: &RetryPolicy, now: u64, chance: f64) -> Verdict {
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
    let asked = outcome.retry_after.map_or(0, |asked| asked.delay(now).min(RETRY_AFTER_MAX));
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
