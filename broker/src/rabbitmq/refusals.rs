//! Notices that a queue refuses everything from this session although it would take publishes from a new one. Up to
//! RabbitMQ 3.12.4 a channel may go on asking the node of a dead leader for as long as that node is away
//! (docs/rabbitmq.md#a-channel-can-be-misled-about-a-leader).

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::health::SessionHealth;

/// One round. Refusals over three rounds do not come from an election
/// (docs/rabbitmq.md#a-leaders-death-costs-half-a-second).
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

pub(super) const INTAKE: &str = "ingest";

#[derive(Default)]
pub(super) struct Refusals {
    round: AtomicUsize,
    by_queue: Mutex<BTreeMap<String, FirstAndLatest>>,
    /// True while there are refusals. Without them a confirm costs no lock.
    any: AtomicBool,
    intake_took: AtomicBool,
}

struct FirstAndLatest {
    first: usize,
    latest: usize,
}

impl Refusals {
    /// An intake that has taken anything is not misled but full, maybe for hours.
    pub(super) fn note_refused(&self, queue: &str) {
        if queue == INTAKE && self.intake_took.load(Ordering::Relaxed) {
            return;
        }
        let round = self.round.load(Ordering::Relaxed);
        let mut by_queue = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = by_queue.entry(queue.to_owned()).or_insert(FirstAndLatest { first: round, latest: round });
        refusals.latest = round;
        self.any.store(true, Ordering::Relaxed);
    }

    /// A publish that was taken ends its queue's refusals.
    pub(super) fn note_taken(&self, queue: &str) {
        if queue == INTAKE {
            self.intake_took.store(true, Ordering::Relaxed);
        }
        if self.any.load(Ordering::Relaxed) {
            let mut by_queue = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
            by_queue.remove(queue);
            self.any.store(!by_queue.is_empty(), Ordering::Relaxed);
        }
    }

    /// Fails the session once a queue refuses for three rounds. The clock stands still while the broker blocks.
    pub(super) async fn watch(&self, health: &SessionHealth) {
        loop {
            health.unblocked_for(ROUND).await;
            if let Some(queue) = self.lasting() {
                return health.fail(format!("{queue} refused everything for 15 s"));
            }
            self.round.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A queue that refused in this round or the last one, and three rounds ago, and took nothing between.
    fn lasting(&self) -> Option<String> {
        let round = self.round.load(Ordering::Relaxed);
        let lasts = |it: &FirstAndLatest| it.latest + 1 >= round && it.first + ROUNDS <= round;
        let by_queue = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
        by_queue.iter().find(|(_, refusals)| lasts(refusals)).map(|(queue, _)| queue.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Refuses once a second for a minute, unless the session fails before.
    async fn refuse_on(refusals: &Refusals, health: &SessionHealth, queue: &str) {
        let refusing = async {
            for _ in 0..60 {
                refusals.note_refused(queue);
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = refusals.watch(health) => {}
            () = refusing => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_that_refuses_everything_ends_the_session_after_fifteen_to_twenty_seconds() {
        let (refusals, health, start) = (Refusals::default(), SessionHealth::new(), Instant::now());
        refuse_on(&refusals, &health, "5s.slow").await;
        assert!((15..=20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(health.reason(), "5s.slow refused everything for 15 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_intake_that_was_full_from_the_beginning_ends_the_session_and_one_that_became_full_does_not() {
        let (refusals, health) = (Refusals::default(), SessionHealth::new());
        refuse_on(&refusals, &health, INTAKE).await;
        assert_eq!(health.reason(), "ingest refused everything for 15 s");

        let (refusals, health) = (Refusals::default(), SessionHealth::new());
        refusals.note_taken(INTAKE);
        refuse_on(&refusals, &health, INTAKE).await;
        assert!(!health.has_failed(), "{}", health.reason());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_between_which_something_is_taken_end_nothing() {
        let (refusals, health) = (Refusals::default(), SessionHealth::new());
        let publishing = async {
            for _ in 0..10 {
                refusals.note_refused("fast");
                sleep(Duration::from_secs(9)).await;
                refusals.note_taken("fast");
            }
        };
        tokio::select! {
            () = refusals.watch(&health) => panic!("{}", health.reason()),
            () = publishing => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_nobody_asked_for_again_end_nothing() {
        let (refusals, health) = (Refusals::default(), SessionHealth::new());
        refusals.note_refused("12h.fast");
        tokio::select! {
            () = refusals.watch(&health) => panic!("{}", health.reason()),
            () = sleep(Duration::from_secs(60)) => {}
        }
    }
}
