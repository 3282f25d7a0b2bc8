//! Notices that a confirm does not come, without a timer for each publish.

use std::time::Duration;

use super::health::Health;
use service::watchdog::{AgeCounter, Round};

/// A quorum queue elects a new leader in well under ten seconds (V13), so what is unconfirmed after three rounds is
/// lost. A round is the precision: overdue means between 15 and 20 s.
const ROUND: Duration = Duration::from_secs(5);

/// Counts what is unconfirmed by the round in which it was published.
#[derive(Default)]
pub(super) struct Overdue(AgeCounter<4>);

/// One unconfirmed publish; its drop says that it is over.
pub(super) struct Unconfirmed<'a>(&'a Overdue, Round);

impl Overdue {
    /// Counts one in.
    pub(super) fn enter(&self) -> Unconfirmed<'_> {
        Unconfirmed(self, self.0.enter())
    }

    /// Fails the session once something is overdue. The clock stands still while the broker blocks.
    pub(super) async fn watch(&self, health: &Health) {
        loop {
            health.unblocked_for(ROUND).await;
            if self.0.overdue() > 0 {
                health.fail("a publish was not confirmed for 15 s");
                return;
            }
            self.0.turn();
        }
    }
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        self.0.0.leave(self.1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_publish_that_is_not_confirmed_ends_the_session_after_fifteen_to_twenty_seconds() {
        let (overdue, health, start) = (Overdue::default(), Health::new(), Instant::now());
        let _unconfirmed = overdue.enter();
        overdue.watch(&health).await;
        assert!((15..=20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert!(health.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn confirmed_publishes_end_nothing_however_many_follow_one_another() {
        let (overdue, health) = (Overdue::default(), Health::new());
        let publishing = async {
            for _ in 0..100 {
                let _unconfirmed = overdue.enter();
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
        };
        tokio::select! {
            () = overdue.watch(&health) => panic!("{}", health.reason()),
            () = publishing => {}
        }
    }
}
