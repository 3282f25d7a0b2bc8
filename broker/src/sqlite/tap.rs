//! A consumer as the writer sees it: where its messages go, and how many it may have.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::Incoming;

/// One consumer.
pub(super) struct Tap {
    pub(super) id: u64,
    prefetch: usize,
    /// Handed to it and not settled, plus what the transaction under way will hand to it.
    pub(super) held: usize,
    /// As large as the prefetch, so that it is never full.
    pub(super) sender: mpsc::Sender<Incoming>,
}

impl Tap {
    /// A tap and where its messages come out. A prefetch of none would wait for ever: it counts as one.
    pub(super) fn new(prefetch: u16) -> (Self, mpsc::Receiver<Incoming>) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let prefetch = usize::from(prefetch.max(1));
        let (sender, receiver) = mpsc::channel(prefetch);
        (Self { id: NEXT.fetch_add(1, Ordering::Relaxed), prefetch, held: 0, sender }, receiver)
    }

    /// How many more it may have.
    pub(super) fn free(&self) -> usize {
        self.prefetch - self.held
    }

    /// Whether somebody listens. A consumer that is just being dropped gives back at once what it is handed, and every
    /// such round would raise the message's count.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}
