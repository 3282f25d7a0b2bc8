//! Whether a consuming role gets anywhere: its loop turns, and what it has in hand comes to an end. A broker or a store that
//! is away is never a reason, and an idle role is not stuck.

use std::{
    cell::Cell,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    ConnectionState,
    incoming::Grant,
    rounds::{Begun, Rounds},
};

/// How often a loop turns, also when nothing comes.
pub(crate) const TURN: Duration = Duration::from_secs(10);
/// A loop does nothing but hand on. If it has not turned for so long, it never will.
const SILENCE: Duration = Duration::from_secs(60);
/// Far longer than anything legitimate while the broker flows: an attempt takes a minute at most, what waits for a slot a
/// few of these, and a publish is given up, or tried again, after a minute. Half of what RabbitMQ bears with a consumer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
const ROUNDS: usize = (LONGEST.as_secs() / TURN.as_secs()) as usize + 1;

tokio::task_local! {
    /// The message that this task handles.
    static IN_HAND: InHand;
}

/// How one loop of [`work`](crate::work) is doing. Shared with whoever answers probes.
pub struct Watchdog {
    link: watch::Receiver<ConnectionState>,
    start: Instant,
    /// When the loop turned last, in ms since the start and one; 0 while there is none.
    turned: AtomicU64,
    in_hand: Rounds<ROUNDS>,
    grant: Mutex<Grant>,
}

/// One message in hand; its drop says that it is no more.
struct InHand {
    progress: Arc<Watchdog>,
    begun: Cell<Begun>,
}

impl Watchdog {
    /// Of a loop that has not begun. While `link` is not ready, nothing in hand grows older.
    pub fn new(link: watch::Receiver<ConnectionState>, now: Instant) -> Arc<Self> {
        let (turned, grant) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { link, start: now, turned, in_hand: Rounds::default(), grant })
    }

    /// Whether the process may be left to run on.
    ///
    /// # Errors
    /// What is stuck.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let since = self.ms(now).saturating_sub(self.turned.load(Relaxed));
        if self.turned.load(Relaxed) > 0 && Duration::from_millis(since) > SILENCE {
            return Err(format!("its loop has not turned for {} s", since / 1_000));
        }
        match self.in_hand.overdue() {
            0 => Ok(()),
            count => Err(format!("{count} in hand for more than {} min", LONGEST.as_secs() / 60)),
        }
    }

    /// Whether it is handed anything.
    ///
    /// # Errors
    /// That the broker, although it is there, has not granted what was asked for.
    pub fn ready(&self) -> Result<(), String> {
        let is_granted = self.grant.lock().unwrap_or_else(PoisonError::into_inner).is_given();
        // Else it is the broker that is missing.
        if is_granted || matches!(*self.link.borrow(), ConnectionState::Away(_)) {
            return Ok(());
        }
        Err("the broker has not granted its consumer yet".to_owned())
    }

    /// A loop begins, which the broker hands messages to once this is given.
    pub(crate) fn begins(&self, grant: Grant, now: Instant) {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner) = grant;
        self.turned.store(self.ms(now), Relaxed);
    }

    /// The loop turns; to be called every [`TURN`].
    pub(crate) fn turns(&self, now: Instant) {
        self.turned.store(self.ms(now), Relaxed);
        if *self.link.borrow() == ConnectionState::Ready {
            self.in_hand.turn();
        }
    }

    /// Handles one message.
    pub(crate) fn carry<F: Future>(self: Arc<Self>, handling: F) -> impl Future<Output = F::Output> {
        let begun = Cell::new(self.in_hand.enter());
        IN_HAND.scope(InHand { progress: self, begun }, handling)
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.progress.in_hand.leave(self.begun.get());
    }
}

/// The broker has answered, if only to refuse: whoever goes on asking is not stuck.
pub(crate) fn renew() {
    let _ = IN_HAND.try_with(|InHand { progress, begun }| {
        progress.in_hand.leave(begun.get());
        begun.set(progress.in_hand.enter());
    });
}
