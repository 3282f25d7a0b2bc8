//! What the end of an attempt says about its endpoint: whether it works, whether it bears more requests, how fast it
//! is, and since when it has only failed. Pure.

use schemas::OutcomeClass;

use super::uptime::Uptime;
use crate::outcome::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BreakerEffect {
    Close,
    /// Several failures in a row open the breaker.
    Fail,
    /// The endpoint answered, but refused this request. A probe closes the breaker, other attempts change nothing.
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConcurrencyEffect {
    Grow,
    Halve,
    None,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptEnd {
    pub(super) breaker: BreakerEffect,
    pub(super) concurrency: ConcurrencyEffect,
    /// Duration in ms, if it says something about the endpoint.
    pub(super) took_ms: Option<u64>,
    /// Ms for which the endpoint asks for no requests.
    pub(super) hold_ms: Option<u64>,
}

impl AttemptEnd {
    /// `now` is unix ms, from which a `Retry-After` counts.
    pub(crate) fn of(outcome: &Outcome, now: u64) -> Self {
        let (breaker, concurrency) = effects(outcome.class, outcome.status);
        let is_measured = outcome.status.is_some() || outcome.class == OutcomeClass::Timeout;
        // With another status `Retry-After` is about this delivery alone.
        let is_busy = matches!(outcome.status, Some(429 | 503));
        Self {
            breaker,
            concurrency,
            took_ms: is_measured.then_some(outcome.duration_ms),
            hold_ms: outcome.retry_after.filter(|_| is_busy).map(|asked| asked.delay_ms(now)),
        }
    }
}

/// Statuses of a server, or of a proxy before it, that has too much to do.
const OVERLOADED: [u16; 3] = [502, 503, 504];

fn effects(class: OutcomeClass, status: Option<u16>) -> (BreakerEffect, ConcurrencyEffect) {
    match class {
        OutcomeClass::Success => (BreakerEffect::Close, ConcurrencyEffect::Grow),
        OutcomeClass::TooMany => (BreakerEffect::Answered, ConcurrencyEffect::Halve),
        OutcomeClass::ServerError if status.is_some_and(|status| OVERLOADED.contains(&status)) => {
            (BreakerEffect::Fail, ConcurrencyEffect::Halve)
        }
        OutcomeClass::Timeout => (BreakerEffect::Fail, ConcurrencyEffect::Halve),
        OutcomeClass::ServerError
        | OutcomeClass::Connect
        | OutcomeClass::Dns
        | OutcomeClass::Tls
        | OutcomeClass::Malformed => (BreakerEffect::Fail, ConcurrencyEffect::None),
        OutcomeClass::Gone | OutcomeClass::ClientError | OutcomeClass::Redirect | OutcomeClass::BlockedIp => {
            (BreakerEffect::Answered, ConcurrencyEffect::None)
        }
    }
}

/// Ms of nothing but failures before the first report, and between two reports.
const REPORT_MS: u64 = 3_600_000;
/// Ms of nothing but failures, five days, after which an endpoint gets no more requests.
const GIVE_UP_MS: u64 = 5 * 86_400_000;

/// The time since which an endpoint has only failed, as far as this process knows. After a restart it begins anew;
/// `control` keeps the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureStreak {
    since: Option<Uptime>,
    reported_at: Option<Uptime>,
}

/// The report that an endpoint has only failed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastingFailure {
    /// Ms since the first failure after the last success.
    pub(crate) failing_ms: u64,
    /// The endpoint gets no more requests from this process.
    pub(crate) is_given_up: bool,
}

impl FailureStreak {
    pub(super) fn note(&mut self, is_success: bool, now: Uptime) -> Option<LastingFailure> {
        if is_success {
            *self = Self::default();
            return None;
        }
        let failing_ms = now.ms_since(*self.since.get_or_insert(now));
        let is_due = failing_ms >= REPORT_MS && self.reported_at.is_none_or(|at| now >= at + REPORT_MS);
        is_due.then(|| {
            self.reported_at = Some(now);
            LastingFailure { failing_ms, is_given_up: failing_ms >= GIVE_UP_MS }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_effects_on_breaker_and_concurrency() {
        use BreakerEffect::{Answered, Close, Fail};
        use ConcurrencyEffect::{Grow, Halve, None as Nothing};
        for class in OutcomeClass::ALL {
            let expected = match class.as_str() {
                "2xx" => (Close, Grow),
                "429" => (Answered, Halve),
                "timeout" => (Fail, Halve),
                "5xx" | "connect" | "dns" | "tls" | "malformed" => (Fail, Nothing),
                _ => (Answered, Nothing),
            };
            assert_eq!(effects(class, None), expected, "{class}");
        }
        for (status, concurrency) in [(500, Nothing), (501, Nothing), (502, Halve), (503, Halve), (504, Halve)] {
            assert_eq!(effects(OutcomeClass::ServerError, Some(status)), (Fail, concurrency), "{status}");
        }
    }

    #[test]
    fn an_endpoint_that_only_fails_is_reported_every_hour_and_given_up_after_five_days() {
        const HOUR: u64 = 3_600_000;
        let mut streak = FailureStreak::default();
        let mut note = |is_success, at| streak.note(is_success, Uptime::of_ms(at));
        let reports: Vec<_> = (0..=5 * 48).filter_map(|half| note(false, half * HOUR / 2)).collect();
        assert!(reports.iter().map(|report| report.failing_ms).eq((1..=5 * 24).map(|hours| hours * HOUR)));
        assert_eq!(reports.iter().filter(|report| report.is_given_up).count(), 1);
        assert_eq!(note(true, 150 * HOUR), None);
        assert_eq!(note(false, 200 * HOUR), None);
        assert_eq!(note(false, 201 * HOUR), Some(LastingFailure { failing_ms: HOUR, is_given_up: false }));
    }
}
