//! A listener that reports to a watchdog: the loop that accepts connections turns as long as it polls the listener,
//! even when no connection arrives.

use std::{io, pin::pin, sync::Arc};

use axum::serve::Listener;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::watchdog::{TURN, Watchdog};

pub(super) struct WatchedListener<L> {
    inner: L,
    watchdog: Arc<Watchdog>,
    ticks: Interval,
}

impl<L> WatchedListener<L> {
    pub(super) fn new(inner: L, watchdog: Arc<Watchdog>) -> Self {
        let mut ticks = interval(TURN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inner, watchdog, ticks }
    }
}

impl<L: Listener> Listener for WatchedListener<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let mut accepted = pin!(self.inner.accept());
        loop {
            tokio::select! {
                biased;
                _ = self.ticks.tick() => self.watchdog.turn(Instant::now(), true),
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

    use tokio::{
        net::TcpListener,
        time::{sleep, timeout},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_for_connections_is_alive_and_one_that_went_away_is_not() {
        let watchdog = Watchdog::new(Instant::now());
        let mut listener = WatchedListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), watchdog.clone());
        assert!(timeout(Duration::from_secs(3_600), listener.accept()).await.is_err(), "nobody has come");
        assert_eq!(watchdog.alive(Instant::now()), Ok(()));
        sleep(Duration::from_secs(71)).await;
        assert!(watchdog.alive(Instant::now()).is_err());
    }
}
