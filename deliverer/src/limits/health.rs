//! What the latest attempts say about an endpoint, for people to see: nothing is decided by it. Pure. Times are unix ms.

use schemas::process_report::FailedAttempt;

use crate::outcome::Outcome;

/// Characters of an answer that are announced.
const EXCERPT_CHARS: usize = 160;

/// The result of a delivery's attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttemptResult<'a> {
    Success {
        at: u64,
    },
    Failure {
        outcome: &'a Outcome,
        began: u64,
        ended: u64,
        /// Ms after its end until the delivery is tried again; none if it is not.
        retry_ms: Option<u64>,
        /// True for the delivery of an event of carteiro's own.
        is_operational: bool,
    },
}

impl AttemptResult<'_> {
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Success { .. })
    }

    pub(super) fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::Success { .. } => None,
            Self::Failure { retry_ms, .. } => *retry_ms,
        }
    }
}

/// The last success of an endpoint, and the failures since.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LatestResults {
    pub(super) last_success_at: Option<u64>,
    pub(super) failing: Option<Box<Failing>>,
}

/// The failures since the last success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failing {
    pub(super) since: u64,
    pub(super) failures: u32,
    pub(super) last: FailedAttempt,
    pub(super) retry_at: Option<u64>,
    /// True while only deliveries of carteiro's own events have failed, of which tenants are not told.
    pub(super) only_operational: bool,
}

impl LatestResults {
    /// Notes a result. True if the endpoint begins to fail, or to fail for what tenants are told of, or answers again.
    pub(super) fn note(&mut self, result: AttemptResult<'_>) -> bool {
        match result {
            AttemptResult::Success { at } => {
                self.last_success_at = Some(at);
                self.failing.take().is_some()
            }
            AttemptResult::Failure { outcome, began, ended, retry_ms, is_operational } => {
                let excerpt: String = outcome.excerpt.chars().take(EXCERPT_CHARS).collect();
                let last = FailedAttempt {
                    at: began,
                    outcome: outcome.class,
                    status: outcome.status,
                    excerpt: Some(excerpt).filter(|excerpt| !excerpt.is_empty()),
                };
                let before = self.failing.take();
                let (since, failures) = before.as_ref().map_or((began, 0), |before| (before.since, before.failures));
                let was_only = before.as_ref().is_none_or(|before| before.only_operational);
                let only_operational = was_only && is_operational;
                let retry_at = retry_ms.map(|ms| ended.saturating_add(ms));
                let failures = failures.saturating_add(1);
                self.failing = Some(Box::new(Failing { since, failures, last, retry_at, only_operational }));
                before.is_none_or(|before| before.only_operational != only_operational)
            }
        }
    }

    /// Forgets failures that began before a success of another process.
    pub(super) fn succeeded_elsewhere(&mut self, at: u64) {
        self.last_success_at = self.last_success_at.max(Some(at));
        self.failing.take_if(|failing| failing.last.at < at);
    }
}

#[cfg(test)]
mod tests {
    use schemas::OutcomeClass;

    use super::*;

    fn failure(outcome: &Outcome, at: u64) -> AttemptResult<'_> {
        AttemptResult::Failure { outcome, began: at, ended: at + 5, retry_ms: Some(1_000), is_operational: false }
    }

    #[test]
    fn an_endpoint_fails_from_its_first_failure_until_its_next_success() {
        let (mut health, refused) =
            (LatestResults::default(), Outcome::with_status(500, None, "é".repeat(EXCERPT_CHARS + 1)));
        assert!(!health.note(AttemptResult::Success { at: 7 }), "it worked before");
        assert!(health.note(failure(&refused, 10)));
        assert!(!health.note(failure(&refused, 20)), "it fails already");
        let failing = health.failing.clone().unwrap();
        assert_eq!((failing.since, failing.failures, failing.retry_at), (10, 2, Some(1_025)));
        assert_eq!(
            (failing.last.at, failing.last.outcome, failing.last.status),
            (20, OutcomeClass::ServerError, Some(500))
        );
        assert_eq!(failing.last.excerpt.unwrap().chars().count(), EXCERPT_CHARS);
        assert!(health.note(AttemptResult::Success { at: 30 }));
        assert_eq!(health, LatestResults { last_success_at: Some(30), failing: None });
    }

    #[test]
    fn an_endpoint_that_failed_for_own_events_changes_when_another_event_fails() {
        let (mut health, refused) = (LatestResults::default(), Outcome::with_status(500, None, String::new()));
        let failure = |at, is_operational| AttemptResult::Failure {
            outcome: &refused,
            began: at,
            ended: at,
            retry_ms: None,
            is_operational,
        };
        assert!(health.note(failure(10, true)) && health.failing.as_ref().unwrap().only_operational);
        assert!(!health.note(failure(20, true)));
        assert!(health.note(failure(30, false)) && !health.failing.as_ref().unwrap().only_operational);
        assert!(!health.note(failure(40, true)) && !health.failing.as_ref().unwrap().only_operational);
    }

    #[test]
    fn a_success_elsewhere_ends_older_failures_only() {
        let (mut health, refused) = (LatestResults::default(), Outcome::with_status(500, None, String::new()));
        health.note(failure(&refused, 10));
        health.succeeded_elsewhere(9);
        assert!(health.failing.is_some());
        health.succeeded_elsewhere(11);
        assert_eq!(health, LatestResults { last_success_at: Some(11), failing: None });
    }
}
