//! The health of a session: whole or failed, and which of its connections the broker has blocked. Its parts report
//! trouble here; only the supervisor acts on it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub(super) struct SessionHealth(Arc<HealthState>);

struct HealthState {
    failed: CancellationToken,
    reason: OnceLock<String>,
    /// The reason for each connection that is blocked. The broker blocks connections that publish, and only when they do.
    blocked: watch::Sender<[Option<String>; 3]>,
}

impl SessionHealth {
    pub(super) fn new() -> Self {
        Self(Arc::new(HealthState {
            failed: CancellationToken::new(),
            reason: OnceLock::new(),
            blocked: watch::Sender::default(),
        }))
    }

    /// Ends the session. The first reason counts.
    pub(super) fn fail(&self, reason: impl Into<String>) {
        let _ = self.0.reason.set(reason.into());
        self.0.failed.cancel();
    }

    /// Waits for the failure, and returns its reason.
    pub(super) async fn failed(&self) -> String {
        self.0.failed.cancelled().await;
        self.reason()
    }

    pub(super) fn token(&self) -> CancellationToken {
        self.0.failed.clone()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.is_cancelled()
    }

    /// The reason of the failure; empty before it.
    pub(super) fn reason(&self) -> String {
        self.0.reason.get().cloned().unwrap_or_default()
    }

    /// `reason` is `None` once the broker has unblocked the connection.
    pub(super) fn set_blocked(&self, connection: usize, reason: Option<String>) {
        self.0.blocked.send_modify(|blocked| blocked[connection] = reason);
    }

    pub(super) fn blocked(&self) -> Option<String> {
        self.0.blocked.borrow().iter().find_map(Clone::clone)
    }

    pub(super) fn blocks(&self) -> watch::Receiver<[Option<String>; 3]> {
        self.0.blocked.subscribe()
    }

    /// Returns after `limit` without a block. A block stops this clock, and its end starts it anew: what was not written
    /// because of an alarm is not lost (docs/rabbitmq.md#an-alarm-blocks-acknowledgements-too).
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
        let health = SessionHealth::new();
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
        let health = SessionHealth::new();
        health.fail("cut");
        health.fail("everything else that follows from it");
        assert_eq!(health.failed().await, "cut");
    }
}
