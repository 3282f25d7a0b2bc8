//! Notices: short messages from one process to all of them, neither confirmed nor kept. A process that depends on an
//! answer repeats its notice until the answer comes.

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// Number of notices that a listener may be behind by: minutes, at their pace.
const KEPT: usize = 1_024;

/// The notices that are announced after the subscription, over every reconnect.
#[derive(Debug)]
pub struct Notices(Receiver<Bytes>);

impl Notices {
    /// `None` once the broker is gone. A listener that is far behind misses the oldest notices.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.recv().await {
                Ok(notice) => return Some(notice),
                Err(RecvError::Lagged(missed)) => tracing::warn!(count = missed, "notices.missed"),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Passes notices on to all listeners of this process. Clones send to the same listeners.
#[derive(Clone, Debug)]
pub(crate) struct NoticeSender(Sender<Bytes>);

impl Default for NoticeSender {
    fn default() -> Self {
        Self(Sender::new(KEPT))
    }
}

impl NoticeSender {
    pub(crate) fn send(&self, notice: Bytes) {
        // An error says only that nobody listens.
        let _ = self.0.send(notice);
    }

    pub(crate) fn subscribe(&self) -> Notices {
        Notices(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_far_behind_misses_the_oldest_and_holds_up_nobody() {
        let sender = NoticeSender::default();
        let mut notices = sender.subscribe();
        for nth in 0..KEPT + 10 {
            sender.send(nth.to_string().into());
        }
        assert_eq!(notices.next().await.unwrap(), "10");
        drop(sender);
        for _ in 0..KEPT - 1 {
            notices.next().await.unwrap();
        }
        assert_eq!(notices.next().await, None);
    }
}
