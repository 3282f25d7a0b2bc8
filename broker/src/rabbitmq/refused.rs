//! Notices that a queue refuses whatever this session publishes to it, while a new session would be taken seriously.
//!
//! Up to RabbitMQ 3.12.4 the first publish of a channel to a quorum queue asks the node of the leader on record, and no
//! other (`rabbit_fifo_client:enqueue/3`). If that node was killed and the record is not yet that of the new leader, the
//! channel is refused for as long as the node is away, though the queue is well and other channels publish to it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{health::Health, way::Way};

/// A refusal that lasts for three rounds is not that of an election, which is over in well under ten seconds (V13).
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

/// Where nothing was taken, and for how long.
#[derive(Default)]
pub(super) struct Refused {
    round: AtomicUsize,
    /// By place. Bounded, as lanes and levels are.
    refusals: Mutex<BTreeMap<String, Refusals>>,
    /// Whether there are any: what is confirmed looks no further otherwise.
    some: AtomicBool,
    /// Whether the intake took anything.
    taken_in: AtomicBool,
}

/// The rounds of the first refusal and of the latest.
struct Refusals {
    first: usize,
    latest: usize,
}

impl Refused {
    /// Notes that something was refused. An intake that has taken anything is not misled but full, maybe for hours.
    pub(super) fn refuse(&self, way: Way, key: &str) {
        if way == Way::Log || (way == Way::Ingest && self.taken_in.load(Ordering::Relaxed)) {
            return;
        }
        let round = self.round.load(Ordering::Relaxed);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let here = refusals.entry(place(way, key).to_owned()).or_insert(Refusals { first: round, latest: round });
        here.latest = round;
        self.some.store(true, Ordering::Relaxed);
    }

    /// Notes that something was taken: whatever was refused there before, it is over.
    pub(super) fn take(&self, way: Way, key: &str) {
        if way == Way::Ingest {
            self.taken_in.store(true, Ordering::Relaxed);
        }
        if self.some.load(Ordering::Relaxed) {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.remove(place(way, key));
            self.some.store(!refusals.is_empty(), Ordering::Relaxed);
        }
    }

    /// Fails the session once some place refuses on and on. The clock stands still while the broker blocks.
    pub(super) async fn watch(&self, health: &Health) {
        loop {
            health.unblocked_for(ROUND).await;
            if let Some(place) = self.lasting() {
                return health.fail(format!("{place} refused everything for 15 s"));
            }
            self.round.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A place that refused in this round or the last, and in one long before, and took nothing between.
    fn lasting(&self) -> Option<String> {
        let round = self.round.load(Ordering::Relaxed);
        let lasts = |here: &Refusals| here.latest + 1 >= round && here.first + ROUNDS <= round;
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().find(|(_, here)| lasts(here)).map(|(place, _)| place.clone())
    }
}

/// The keys of events are without number, and their queue is one.
fn place(way: Way, key: &str) -> &str {
    if way == Way::Ingest { "ingest" } else { key }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Refuses once a second for a minute, unless the session fails before.
    async fn refuse_on(refused: &Refused, health: &Health, way: Way, key: &str) {
        let refusing = async {
            for _ in 0..60 {
                refused.refuse(way, key);
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = refused.watch(health) => {}
            () = refusing => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_that_refuses_everything_ends_the_session_after_fifteen_to_twenty_seconds() {
        let (refused, health, start) = (Refused::default(), Health::new(), Instant::now());
        refuse_on(&refused, &health, Way::Lane, "5s.slow").await;
        assert!((15..=20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(health.reason(), "5s.slow refused everything for 15 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_intake_that_was_full_from_the_beginning_ends_the_session_and_one_that_became_full_does_not() {
        let (refused, health) = (Refused::default(), Health::new());
        refuse_on(&refused, &health, Way::Ingest, "acme.7.-.ticket.created").await;
        assert_eq!(health.reason(), "ingest refused everything for 15 s");

        let (refused, health) = (Refused::default(), Health::new());
        refused.take(Way::Ingest, "acme.7.-.ticket.created");
        refuse_on(&refused, &health, Way::Ingest, "acme.7.-.ticket.closed").await;
        assert!(!health.has_failed(), "{}", health.reason());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_between_which_something_is_taken_end_nothing() {
        let (refused, health) = (Refused::default(), Health::new());
        let publishing = async {
            for _ in 0..10 {
                refused.refuse(Way::Lane, "fast");
                sleep(Duration::from_secs(9)).await;
                refused.take(Way::Lane, "fast");
            }
        };
        tokio::select! {
            () = refused.watch(&health) => panic!("{}", health.reason()),
            () = publishing => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_nobody_asked_for_again_end_nothing() {
        let (refused, health) = (Refused::default(), Health::new());
        refused.refuse(Way::Lane, "12h.fast");
        tokio::select! {
            () = refused.watch(&health) => panic!("{}", health.reason()),
            () = sleep(Duration::from_secs(60)) => {}
        }
    }
}
