//! The state of a delivery and of an event as backends keep them, and what each record does to it.

use schemas::{DeadReason, OutcomeClass};
use uuid::Uuid;

use crate::{ContactToken, Post, RecordedVerdict, body, query::DeliveryState};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeliveryKey {
    pub(crate) event: i64,
    pub(crate) endpoint: i64,
    pub(crate) part: String,
}

/// A delivery as it is. Times are in unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DeliveryRow {
    pub(crate) id: Uuid,
    pub(crate) tenant: i64,
    pub(crate) accepted_at: u64,
    /// Ids, separated by commas.
    pub(crate) subscriptions: String,
    pub(crate) shape: Option<body::Shape>,
    pub(crate) state: State,
    pub(crate) reason: Option<DeadReason>,
    /// Number of lives that began.
    pub(crate) run: u32,
    /// When the last of them began.
    pub(crate) run_began: u64,
    pub(crate) attempts: u32,
    pub(crate) next_due: Option<u64>,
    pub(crate) outcome: Option<OutcomeClass>,
    /// Life and number of the last attempt.
    pub(crate) last: Option<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Waiting = 0,
    Delivered = 1,
    Dead = 2,
}

impl State {
    pub(crate) fn of(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
        }
    }

    pub(crate) fn shown(self) -> DeliveryState {
        match self {
            Self::Waiting => DeliveryState::Waiting,
            Self::Delivered => DeliveryState::Delivered,
            Self::Dead => DeliveryState::Dead,
        }
    }

    pub(crate) fn read(number: i64) -> Self {
        match number {
            1 => Self::Delivered,
            2 => Self::Dead,
            _ => Self::Waiting,
        }
    }
}

impl DeliveryRow {
    /// A delivery that begins its first life. Times are in unix milliseconds.
    pub(crate) fn new(id: Uuid, tenant: i64, accepted_at: u64, subscriptions: &[String], run_began: u64) -> Self {
        let subscriptions = subscriptions.join(",");
        Self { id, tenant, accepted_at, subscriptions, run: 1, run_began, ..Self::default() }
    }

    /// Begins another life, unless it has begun already, or a later one has. True when it is new.
    pub(crate) fn begin_run(&mut self, began: u64) -> bool {
        if began <= self.run_began {
            return false;
        }
        (self.run, self.run_began) = (self.run + 1, began);
        (self.state, self.reason, self.next_due) = (State::Waiting, None, None);
        true
    }

    /// Applies a new attempt, or an end without one. Attempts may come in any order.
    pub(crate) fn apply(
        &mut self,
        run_began: u64,
        number: u32,
        outcome: Option<OutcomeClass>,
        verdict: RecordedVerdict,
    ) {
        self.begin_run(run_began);
        self.attempts += u32::from(outcome.is_some());
        let is_last = self.last.is_none_or(|last| last <= (run_began, number));
        if outcome.is_some() && is_last {
            (self.last, self.outcome) = (Some((run_began, number)), outcome);
        }
        let is_of_this_run = run_began == self.run_began;
        // A delivery that was retried twice has ended with its first success, whatever came later.
        let has_succeeded = is_of_this_run && self.state == State::Delivered;
        if !is_of_this_run || has_succeeded {
            return;
        }
        match verdict {
            RecordedVerdict::Delivered => (self.state, self.reason, self.next_due) = (State::Delivered, None, None),
            RecordedVerdict::Dead(reason) if is_last => {
                (self.state, self.reason, self.next_due) = (State::Dead, Some(reason), None);
            }
            RecordedVerdict::Retry(due) if is_last => {
                (self.state, self.reason, self.next_due) = (State::Waiting, None, Some(due));
            }
            RecordedVerdict::Dead(_) | RecordedVerdict::Retry(_) => {}
        }
    }
}

pub(crate) fn outcome(text: &str) -> Option<OutcomeClass> {
    OutcomeClass::ALL.into_iter().find(|class| class.as_str() == text)
}

/// A POST as it is kept: MessagePack, compressed.
pub(crate) fn pack_post(post: &Post) -> Vec<u8> {
    body::pack(&rmp_serde::to_vec_named(post).unwrap_or_default())
}

/// None for bytes that are none.
pub(crate) fn unpack_post(bytes: &[u8]) -> Option<Post> {
    rmp_serde::from_slice(&body::unpack(bytes)?).ok()
}

/// An event, without its body.
#[derive(Clone, Debug)]
pub(crate) struct EventRow {
    pub(crate) no: i64,
    pub(crate) tenant: i64,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) source: String,
    /// Unix milliseconds, as the next.
    pub(crate) accepted_at: u64,
    pub(crate) occurred_at: u64,
    pub(crate) channel: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) contact: Option<ContactToken>,
    pub(crate) matched: bool,
    pub(crate) is_erased: bool,
}

/// An attempt, or an end without one. Times are in unix milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRow {
    pub(crate) run_began: i64,
    pub(crate) number: u32,
    pub(crate) at: i64,
    pub(crate) next_due: Option<i64>,
    pub(crate) deferrals: u32,
    /// Packed; none for an end without an attempt.
    pub(crate) post: Option<Vec<u8>>,
}

/// Leaves of a POST what says nothing of anybody.
pub(crate) fn blank(post: &mut Post) {
    post.response_excerpt.clear();
    post.response_headers.clear();
    post.request_headers.clear();
}

/// Names an event's bodies, beside its number: after a power failure that number may be another event's.
pub(crate) fn owner_of_bodies(tenant: i64, event_id: &str) -> i64 {
    body::shape(format!("{tenant} {event_id}").as_bytes())
}

/// An unsigned number as databases take it.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RecordedVerdict = RecordedVerdict::Retry(50);
    const FAILED: Option<OutcomeClass> = Some(OutcomeClass::ServerError);

    fn row() -> DeliveryRow {
        DeliveryRow { run: 1, run_began: 10, ..DeliveryRow::default() }
    }

    #[test]
    fn attempts_may_come_in_any_order() {
        let mut attempts = [
            (10, 1, FAILED, RETRY),
            (10, 2, FAILED, RETRY),
            (10, 3, Some(OutcomeClass::Success), RecordedVerdict::Delivered),
        ];
        for _ in 0..3 {
            attempts.rotate_left(1);
            let mut row = row();
            for (run, number, outcome, verdict) in attempts {
                row.apply(run, number, outcome, verdict);
            }
            assert_eq!((row.state, row.attempts, row.last, row.next_due), (State::Delivered, 3, Some((10, 3)), None));
        }
    }

    #[test]
    fn a_success_is_not_undone_by_a_fork_of_its_retry() {
        let mut row = row();
        row.apply(10, 2, Some(OutcomeClass::Success), RecordedVerdict::Delivered);
        row.apply(10, 3, FAILED, RecordedVerdict::Dead(DeadReason::Exhausted));
        assert_eq!((row.state, row.reason, row.attempts), (State::Delivered, None, 2));
    }

    #[test]
    fn another_life_waits_until_its_first_attempt_and_a_late_record_of_the_former_changes_nothing() {
        let mut row = row();
        row.apply(10, 1, FAILED, RecordedVerdict::Dead(DeadReason::Exhausted));
        assert!(row.begin_run(20) && !row.begin_run(20));
        assert_eq!((row.state, row.reason, row.run), (State::Waiting, None, 2));
        row.apply(10, 2, FAILED, RecordedVerdict::Dead(DeadReason::Expired));
        assert_eq!((row.state, row.attempts), (State::Waiting, 2));
        row.apply(20, 1, FAILED, RETRY);
        assert_eq!((row.next_due, row.last), (Some(50), Some((20, 1))));
    }

    #[test]
    fn an_end_without_an_attempt_counts_none() {
        let mut row = row();
        row.apply(10, 1, None, RecordedVerdict::Dead(DeadReason::EndpointDisabled));
        assert_eq!(
            (row.state, row.reason, row.attempts, row.last),
            (State::Dead, Some(DeadReason::EndpointDisabled), 0, None)
        );
    }
}
