//! A listener that says that it is asked for connections, also while none come: that the loop that accepts them turns.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::turns::{TURN, Turns};

/// Accepts what the one inside does.
pub(super) struct Turning<L> {
    inner: L,
    turns: Arc<Turns>,
    ticks: Interval,
}

impl<L> Turning<L> {
    pub(super) fn new(inner: L, turns: Arc<Turns>) -> Self {
        let mut ticks = interval(TURN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inner, turns, ticks }
    }
}

impl<L: Listener> Listener for Turning<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let mut accepted = pin!(self.inner.accept());
        loop {
            tokio::select! {
                biased;
                _ = self.ticks.tick() => self.turns.turn(Instant::now()),
                accepted = &mut accepted => return accepted,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_for_connections_turns_and_one_that_went_away_does_not() {
        let turns = Arc::new(Turns::new(Instant::now()));
        let mut listener = Turning::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), turns.clone());
        assert!(timeout(Duration::from_secs(3_600), listener.accept()).await.is_err(), "nobody has come");
        assert_eq!(turns.alive(Instant::now()), Ok(()));
        sleep(Duration::from_secs(71)).await;
        assert!(turns.alive(Instant::now()).is_err());
    }
}
