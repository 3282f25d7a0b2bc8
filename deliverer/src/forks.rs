//! Retries that seem to go on twice. A retry whose confirm was lost is published again, or its predecessor is handed out
//! and attempted again: then two chains of one delivery run until one of them meets its 2xx (broker, §3). Receivers
//! recognise what they get twice; operators should see that it happens.
//!
//! Suspected is a retry that this process has attempted before under the same number, while the broker says that it is
//! handed out for the first time. First attempts are not looked at: an event routed twice is no fork. What another
//! process attempted, or this one long ago, is not known here, so the count is what is seen at least.

use std::time::Duration;

use schemas::Delivery;
use service::{Seen, SeenConfig};

use crate::repeat;

/// Some 3 MB at most; for a few minutes at a thousand retries a second, and the chains of one fork are that near each
/// other at first.
const REMEMBERED: SeenConfig = SeenConfig { ids: 65_536, window: Duration::from_secs(600) };

/// The retries attempted here of late.
#[derive(Debug)]
pub(crate) struct Forks(Seen);

impl Default for Forks {
    fn default() -> Self {
        Self(Seen::new(REMEMBERED))
    }
}

impl Forks {
    /// Notes an attempt that begins at `now` (unix ms), and says whether it is a suspect.
    pub(crate) fn note(&self, delivery: &Delivery, is_redelivered: bool, now: u64) -> bool {
        if delivery.attempt < 2 {
            return false;
        }
        // Ids are digests: none is another's neighbour.
        let id = repeat::key(delivery).wrapping_add(delivery.attempt.into());
        let was_attempted = self.0.contains(id, now);
        self.0.note(id, now);
        was_attempted && !is_redelivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{START, delivery};

    fn retry(attempt: u32) -> Delivery {
        Delivery { attempt, ..delivery("e1") }
    }

    #[test]
    fn a_retry_attempted_twice_under_one_number_is_a_suspect() {
        let forks = Forks::default();
        let told: Vec<_> = [2, 3, 2, 3, 4].map(|attempt| forks.note(&retry(attempt), false, START)).into();
        assert_eq!(told, [false, false, true, true, false]);
    }

    #[test]
    fn what_the_broker_hands_out_again_is_none_and_neither_is_another_deliverys_or_a_replays() {
        let forks = Forks::default();
        assert!(!forks.note(&retry(2), false, START));
        assert!(!forks.note(&retry(2), true, START), "its settlement was lost");
        assert!(!forks.note(&Delivery { attempt: 2, ..delivery("e2") }, false, START));
        assert!(!forks.note(&Delivery { replay: Some("r1".into()), ..retry(2) }, false, START));
        assert!(!forks.note(&retry(1), false, START) && !forks.note(&retry(1), false, START), "routed twice");
    }
}
