//! Decides what becomes of a delivery that is not attempted now: it is deferred, or it ends. Pure.

use broker::{Due, Lane};
use schemas::{DeadReason, Delivery, RetryPolicy};

use crate::{
    limits::{DeferReason, TurnedAway},
    resolve::Unresolved,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAttempted {
    Deferred {
        lane: Lane,
        due: Due,
        reason: DeferralReason,
    },
    MovedToSlowLane,
    Dead(DeadReason),
    /// It ends and leaves no dead letter, because its contact is erased.
    Erased,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeferralReason {
    Limit(DeferReason),
    /// No snapshot has the endpoint yet.
    EndpointUnknown,
    /// The snapshot of this process is older than the delivery.
    SnapshotBehind,
}

impl DeferralReason {
    pub(crate) const ALL: [Self; 7] = [
        Self::Limit(DeferReason::Breaker),
        Self::Limit(DeferReason::Cap),
        Self::Limit(DeferReason::Rate),
        Self::Limit(DeferReason::Share),
        Self::Limit(DeferReason::Paused),
        Self::EndpointUnknown,
        Self::SnapshotBehind,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Limit(reason) => reason.as_str(),
            Self::EndpointUnknown => "endpoint_unknown",
            Self::SnapshotBehind => "snapshot_behind",
        }
    }
}

/// Number of short waits of a delivery without an endpoint: a minute. By then a store without revisions has shown its
/// latest snapshot; one with revisions is away.
const SHORT_WAITS: u32 = 12;
const SHORT_WAIT_MS: u64 = 5_000;
/// Wait, in ms, while the store is away and many deliveries may be waiting.
const LONG_WAIT_MS: u64 = 60_000;
/// Number of deferrals from which an old delivery counts as aged here, and not as one that came late.
const AGED_DEFERRALS: u32 = 3;

/// Decides about a delivery without an endpoint. `now` is unix ms.
pub(crate) fn unresolved(
    delivery: &Delivery,
    lane: Lane,
    unresolved: Unresolved,
    default_policy: &RetryPolicy,
    now: u64,
) -> NotAttempted {
    let defer = |reason| {
        let wait = if delivery.deferrals < SHORT_WAITS { SHORT_WAIT_MS } else { LONG_WAIT_MS };
        NotAttempted::Deferred { lane, due: Due { at: now + wait, exact: false }, reason }
    };
    let age = now.saturating_sub(delivery.accepted_at);
    match unresolved {
        Unresolved::Unknown if delivery.deferrals < SHORT_WAITS => defer(DeferralReason::EndpointUnknown),
        // A later snapshot has the endpoint, unless the store was put back to an older state.
        Unresolved::Ahead if age <= default_policy.max_age.millis() => defer(DeferralReason::SnapshotBehind),
        Unresolved::Unknown | Unresolved::Ahead | Unresolved::Gone => NotAttempted::Dead(DeadReason::EndpointGone),
        Unresolved::Cancelled => NotAttempted::Dead(DeadReason::Cancelled),
        Unresolved::Disabled => NotAttempted::Dead(DeadReason::EndpointDisabled),
    }
}

/// Decides about a delivery that its endpoint's limits turned away. `now` is unix ms.
pub(crate) fn turned_away(
    delivery: &Delivery,
    turned_away: TurnedAway,
    policy: &RetryPolicy,
    now: u64,
) -> NotAttempted {
    match turned_away {
        TurnedAway::Deferred { wait_ms, reason: DeferReason::Paused } => {
            let due = Due { at: now.saturating_add(wait_ms), exact: false };
            NotAttempted::Deferred { lane: Lane::Slow, due, reason: DeferralReason::Limit(DeferReason::Paused) }
        }
        TurnedAway::Deferred { wait_ms, reason } if now.saturating_add(wait_ms) <= latest(delivery, policy, now) => {
            // The time is reserved for this delivery.
            let due = Due { at: now.saturating_add(wait_ms), exact: true };
            NotAttempted::Deferred { lane: Lane::Slow, due, reason: DeferralReason::Limit(reason) }
        }
        TurnedAway::SlowLane => NotAttempted::MovedToSlowLane,
        TurnedAway::Deferred { .. } if delivery.attempt > 1 => NotAttempted::Dead(DeadReason::Expired),
        TurnedAway::Deferred { .. } | TurnedAway::Overflow => NotAttempted::Dead(DeadReason::Overflow),
    }
}

/// Latest time, in unix ms, until which limits may defer a delivery. One that came late and was never attempted still gets
/// its full time; one that has grown old by deferrals does not. One whose endpoint was paused since its last attempt waits
/// for the next one however long that takes.
fn latest(delivery: &Delivery, policy: &RetryPolicy, now: u64) -> u64 {
    if delivery.found_paused > 0 {
        return u64::MAX;
    }
    let came_late = delivery.attempt == 1 && delivery.deferrals < AGED_DEFERRALS;
    let since = if came_late { now.max(delivery.accepted_at) } else { delivery.accepted_at };
    since.saturating_add(policy.max_age.millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{START, delivery};

    const HOUR: u64 = 3_600_000;
    const OLD: u64 = START + 100 * HOUR;

    fn deferred(attempt: u32, deferrals: u32) -> Delivery {
        Delivery { attempt, deferrals, ..delivery("e1") }
    }

    #[test]
    fn a_delivery_without_an_endpoint_is_deferred_only_while_the_endpoint_may_still_come() {
        let policy = RetryPolicy::default();
        let decision = |deferrals, why, now| unresolved(&deferred(1, deferrals), Lane::Fast, why, &policy, now);
        let waits = |ms, reason| {
            let due = Due { at: START + ms, exact: false };
            NotAttempted::Deferred { lane: Lane::Fast, due, reason }
        };
        for (deferrals, why, expected) in [
            (11, Unresolved::Unknown, waits(5_000, DeferralReason::EndpointUnknown)),
            (12, Unresolved::Unknown, NotAttempted::Dead(DeadReason::EndpointGone)),
            (11, Unresolved::Ahead, waits(5_000, DeferralReason::SnapshotBehind)),
            (12, Unresolved::Ahead, waits(60_000, DeferralReason::SnapshotBehind)),
            (0, Unresolved::Gone, NotAttempted::Dead(DeadReason::EndpointGone)),
            (0, Unresolved::Cancelled, NotAttempted::Dead(DeadReason::Cancelled)),
            (0, Unresolved::Disabled, NotAttempted::Dead(DeadReason::EndpointDisabled)),
        ] {
            assert_eq!(decision(deferrals, why, START), expected, "{why:?} after {deferrals}");
        }
        assert_eq!(decision(50, Unresolved::Ahead, OLD), NotAttempted::Dead(DeadReason::EndpointGone));
    }

    #[test]
    fn a_delivery_turned_away_waits_for_the_time_reserved_for_it_unless_that_is_too_late() {
        let policy = RetryPolicy::default();
        let later = |wait_ms| TurnedAway::Deferred { wait_ms, reason: DeferReason::Rate };
        let waits = |until| NotAttempted::Deferred {
            lane: Lane::Slow,
            due: Due { at: until, exact: true },
            reason: DeferralReason::Limit(DeferReason::Rate),
        };
        for (attempt, deferrals, why, now, expected) in [
            (1, 0, later(9), START, waits(START + 9)),
            (2, 0, later(72 * HOUR), START, waits(START + 72 * HOUR)),
            (2, 0, later(72 * HOUR + 1), START, NotAttempted::Dead(DeadReason::Expired)),
            (1, 2, later(9), OLD, waits(OLD + 9)),
            (1, 3, later(9), OLD, NotAttempted::Dead(DeadReason::Overflow)),
            (1, 0, TurnedAway::SlowLane, START, NotAttempted::MovedToSlowLane),
            (2, 0, TurnedAway::Overflow, START, NotAttempted::Dead(DeadReason::Overflow)),
        ] {
            let decision = turned_away(&deferred(attempt, deferrals), why, &policy, now);
            assert_eq!(decision, expected, "attempt {attempt} after {deferrals} deferrals");
        }
    }

    #[test]
    fn a_delivery_whose_endpoint_was_paused_waits_for_its_next_attempt_however_old_it_is() {
        let found_paused = Delivery { found_paused: 1, ..deferred(2, 9) };
        for (delivery, reason, exact) in [
            (deferred(2, 9), DeferReason::Paused, false),
            (found_paused.clone(), DeferReason::Paused, false),
            (found_paused.clone(), DeferReason::Rate, true),
            (found_paused.clone(), DeferReason::Breaker, true),
            (found_paused, DeferReason::Share, true),
        ] {
            let turned_away_for = TurnedAway::Deferred { wait_ms: 9, reason };
            let decision = turned_away(&delivery, turned_away_for, &RetryPolicy::default(), OLD);
            let due = Due { at: OLD + 9, exact };
            let waits = NotAttempted::Deferred { lane: Lane::Slow, due, reason: DeferralReason::Limit(reason) };
            assert_eq!(decision, waits, "{reason:?}");
        }
    }
}
