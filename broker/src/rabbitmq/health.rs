//! How a session is doing: whole or failed, and which of its connections the broker has blocked. Anything that notices
//! trouble says so here; only the supervisor draws the consequence.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

/// Shared by all parts of one session.
#[derive(Clone)]
pub(super) struct Health(Arc<Inner>);

struct Inner {
    failed: CancellationToken,
    reason: OnceLock<String>,
    /// Why, per connection that is blocked. The broker blocks those that have published, and only as they publish.
    blocked: watch::Sender<[Option<String>; 3]>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            failed: CancellationToken::new(),
            reason: OnceLock::new(),
            blocked: watch::Sender::default(),
        }))
    }

    /// Ends the session; the first reason counts.
    pub(super) fn fail(&self, reason: impl Into<String>) {
        let _ = self.0.reason.set(reason.into());
        self.0.failed.cancel();
    }

    /// Waits until it failed, and says why.
    pub(super) async fn failed(&self) -> String {
        self.0.failed.cancelled().await;
        self.reason()
    }

    /// Cancelled once it failed.
    pub(super) fn token(&self) -> CancellationToken {
        self.0.failed.clone()
    }

    /// Whether it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.is_cancelled()
    }

    /// Why it failed.
    pub(super) fn reason(&self) -> String {
        self.0.reason.get().cloned().unwrap_or_default()
    }

    /// Notes that the broker blocked or unblocked the nth connection.
    pub(super) fn set_blocked(&self, connection: usize, reason: Option<String>) {
        self.0.blocked.send_modify(|blocked| blocked[connection] = reason);
    }

    /// Why publishing is blocked, if it is.
    pub(super) fn blocked(&self) -> Option<String> {
        self.0.blocked.borrow().iter().find_map(Clone::clone)
    }

    /// Waits for the next change of [`blocked`](Self::blocked).
    pub(super) fn blocks(&self) -> watch::Receiver<[Option<String>; 3]> {
        self.0.blocked.subscribe()
    }

    /// Ends after `limit` without a block. A block stops this clock, and its end starts it anew: what was not written
    /// because of an alarm was not lost (V12).
    pub(super) async fn unblocked_for(&self, limit: Duration) {
        let mut blocks = self.blocks();
        loop {
            let is_free = |blocked: &[Option<String>; 3]| blocked.iter().all(Option::is_none);
            let _ = blocks.wait_for(is_free).await;
            tokio::select! {
                () = time::sleep(limit) => return,
                _ = blocks.wait_for(|blocked| !is_free(blocked)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_while_a_connection_is_blocked() {
        let health = Health::new();
        let start = Instant::now();
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.unblocked_for(Duration::from_secs(15)).await }
        });
        tokio::task::yield_now().await;
        advance(Duration::from_secs(10)).await;
        health.set_blocked(1, Some("low on memory".to_owned()));
        tokio::task::yield_now().await;
        advance(Duration::from_secs(600)).await;
        health.set_blocked(1, None);
        waiting.await.expect("ends");
        assert_eq!(start.elapsed().as_secs(), 625);
    }

    #[tokio::test]
    async fn the_first_reason_is_the_one_that_counts() {
        let health = Health::new();
        health.fail("cut");
        health.fail("everything else that follows from it");
        assert_eq!(health.failed().await, "cut");
    }
}
