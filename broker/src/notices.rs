//! Short words from one process to all of them: look again, this happened. Neither confirmed nor kept: who must know
//! asks again, or says it again until it is answered. What they mean is not the broker's business.

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// What a listener may be behind by. At the pace of notices that is minutes.
const KEPT: usize = 1_024;

/// What is announced on a broker, from the moment it was asked for, over every reconnect.
#[derive(Debug)]
pub struct Notices(Receiver<Bytes>);

impl Notices {
    /// The next one; none once the broker is gone. A listener that is far behind misses the oldest, and holds up nobody.
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

/// Where notices are put up for the listeners of this process. Clones are the same board.
#[derive(Clone, Debug)]
pub(crate) struct Board(Sender<Bytes>);

impl Default for Board {
    fn default() -> Self {
        Self(Sender::new(KEPT))
    }
}

impl Board {
    /// Puts one up.
    pub(crate) fn post(&self, notice: Bytes) {
        // Nobody may be listening.
        let _ = self.0.send(notice);
    }

    /// What is put up from now on.
    pub(crate) fn listen(&self) -> Notices {
        Notices(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_far_behind_misses_the_oldest_and_holds_up_nobody() {
        let board = Board::default();
        let mut notices = board.listen();
        for nth in 0..KEPT + 10 {
            board.post(nth.to_string().into());
        }
        assert_eq!(notices.next().await.unwrap(), "10");
        drop(board);
        for _ in 0..KEPT - 1 {
            notices.next().await.unwrap();
        }
        assert_eq!(notices.next().await, None);
    }
}
