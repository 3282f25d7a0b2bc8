//! The row of a delivery, and what each record does to it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemas::{DeadReason, OutcomeClass};
use uuid::Uuid;

use super::write::signed;
use crate::{HistoryError, Post, RecordedDelivery, RecordedVerdict, body, query::DeliveryState};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DeliveryKey {
    pub(super) event: i64,
    pub(super) endpoint: i64,
    pub(super) part: String,
}

/// A delivery as it is. Times are in unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DeliveryRow {
    pub(super) id: Uuid,
    pub(super) tenant: i64,
    pub(super) accepted_at: u64,
    /// Ids, separated by commas.
    pub(super) subscriptions: String,
    pub(super) shape: Option<body::Shape>,
    pub(super) state: State,
    pub(super) reason: Option<DeadReason>,
    /// Number of lives that began.
    pub(super) run: u32,
    /// When the last of them began.
    pub(super) run_began: u64,
    pub(super) attempts: u32,
    pub(super) next_due: Option<u64>,
    pub(super) outcome: Option<OutcomeClass>,
    /// Life and number of the last attempt.
    pub(super) last: Option<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Waiting = 0,
    Delivered = 1,
    Dead = 2,
}

impl State {
    pub(super) fn of(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
        }
    }

    pub(super) fn shown(self) -> DeliveryState {
        match self {
            Self::Waiting => DeliveryState::Waiting,
            Self::Delivered => DeliveryState::Delivered,
            Self::Dead => DeliveryState::Dead,
        }
    }

    fn read(number: i64) -> Self {
        match number {
            1 => Self::Delivered,
            2 => Self::Dead,
            _ => Self::Waiting,
        }
    }
}

/// The columns of a row, in the order in which they are read.
pub(super) const COLUMNS: &str = "d.id, d.tenant, d.accepted_at, d.subscriptions, d.shape, d.state, d.reason, d.run, \
    d.run_began, d.attempts, d.next_due, d.outcome, d.last_run, d.last_number";

impl DeliveryRow {
    pub(super) fn new(tenant: i64, delivery: &RecordedDelivery) -> Self {
        Self {
            id: delivery.id,
            tenant,
            accepted_at: delivery.accepted_at,
            subscriptions: delivery.subscriptions.join(","),
            run: 1,
            run_began: delivery.run_began,
            ..Self::default()
        }
    }

    /// Begins another life, unless it has begun already, or a later one has. True when it is new.
    pub(super) fn begin_run(&mut self, began: u64) -> bool {
        if began <= self.run_began {
            return false;
        }
        (self.run, self.run_began) = (self.run + 1, began);
        (self.state, self.reason, self.next_due) = (State::Waiting, None, None);
        true
    }

    /// Applies a new attempt, or an end without one. Attempts may come in any order.
    pub(super) fn apply(
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

    pub(super) fn find(file: &Connection, key: &DeliveryKey) -> Result<Option<Self>, HistoryError> {
        let select = format!("SELECT {COLUMNS} FROM deliveries d WHERE event = ?1 AND endpoint = ?2 AND part = ?3");
        let found = file
            .prepare_cached(&select)?
            .query_row(params![key.event, key.endpoint, key.part], |row| Self::read(row, 0));
        Ok(found.optional()?)
    }

    /// Reads the columns from the one at `first` on.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let at = |column: usize| first + column;
        let time = |column| row.get::<_, i64>(at(column)).map(i64::unsigned_abs);
        let optional = |column| row.get::<_, Option<i64>>(at(column)).map(|time| time.map(i64::unsigned_abs));
        let last = optional(12)?.zip(row.get::<_, Option<u32>>(at(13))?);
        Ok(Self {
            id: Uuid::from_slice(row.get_ref(at(0))?.as_blob()?).unwrap_or_default(),
            tenant: row.get(at(1))?,
            accepted_at: time(2)?,
            subscriptions: row.get(at(3))?,
            shape: row.get(at(4))?,
            state: State::read(row.get(at(5))?),
            reason: row.get_ref(at(6))?.as_str_or_null()?.and_then(DeadReason::parse),
            run: row.get(at(7))?,
            run_began: time(8)?,
            attempts: row.get(at(9))?,
            next_due: optional(10)?,
            outcome: row.get_ref(at(11))?.as_str_or_null()?.and_then(outcome),
            last,
        })
    }

    pub(super) fn put(&self, file: &Connection, key: &DeliveryKey) -> Result<(), HistoryError> {
        let put = "INSERT INTO deliveries (event, endpoint, part, id, tenant, accepted_at, subscriptions, shape, state, reason,
            run, run_began, attempts, next_due, outcome, last_run, last_number)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
            ON CONFLICT (event, endpoint, part) DO UPDATE SET subscriptions = excluded.subscriptions, shape = excluded.shape,
            state = excluded.state, reason = excluded.reason, run = excluded.run, run_began = excluded.run_began,
            attempts = excluded.attempts, next_due = excluded.next_due, outcome = excluded.outcome,
            last_run = excluded.last_run, last_number = excluded.last_number";
        file.prepare_cached(put)?.execute(params![
            key.event,
            key.endpoint,
            key.part,
            self.id.as_bytes(),
            self.tenant,
            signed(self.accepted_at),
            self.subscriptions,
            self.shape,
            self.state as i64,
            self.reason.map(DeadReason::as_str),
            self.run,
            signed(self.run_began),
            self.attempts,
            self.next_due.map(signed),
            self.outcome.map(OutcomeClass::as_str),
            self.last.map(|(run, _)| signed(run)),
            self.last.map(|(_, number)| number),
        ])?;
        Ok(())
    }
}

pub(super) fn outcome(text: &str) -> Option<OutcomeClass> {
    OutcomeClass::ALL.into_iter().find(|class| class.as_str() == text)
}

/// A POST as it is kept: MessagePack, compressed.
pub(super) fn pack_post(post: &Post) -> Vec<u8> {
    body::pack(&rmp_serde::to_vec_named(post).unwrap_or_default())
}

/// None for bytes that are none.
pub(super) fn unpack_post(bytes: &[u8]) -> Option<Post> {
    rmp_serde::from_slice(&body::unpack(bytes)?).ok()
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
