//! What this process did recently: deliveries that succeeded, whose repeats are settled without a POST, and retries,
//! which show when a delivery is retried twice. Receivers recognise the repeats of other processes by their
//! `webhook-id`.

use std::time::Duration;

use schemas::Delivery;
use service::{IdempotencyKeys, Seen, SeenConfig, seen};
use tokio::time::Instant;

/// Attempted retries that are remembered, in 3 MB at most. The two chains of a forked delivery begin minutes apart.
const ATTEMPTED_RETRIES: SeenConfig = SeenConfig { ids: 65_536, window: Duration::from_secs(600) };

#[derive(Debug)]
pub(crate) struct Recent {
    delivered: IdempotencyKeys,
    attempted_retries: Seen,
}

impl Recent {
    pub(crate) fn new(delivered: SeenConfig) -> Self {
        Self { delivered: IdempotencyKeys::new(delivered), attempted_retries: Seen::new(ATTEMPTED_RETRIES) }
    }

    /// True when this body was delivered for the tenant that was created at this revision. Another one under the same id
    /// is of an event whose sender has used the id of an earlier event, and is not lost.
    pub(crate) fn was_delivered(&self, delivery: &Delivery, tenant_created: u64, body: &[u8], now: Instant) -> bool {
        self.delivered.is_repeat(id(delivery, tenant_created), body, now)
    }

    pub(crate) fn delivered(&self, delivery: &Delivery, tenant_created: u64, body: &[u8], now: Instant) {
        self.delivered.note(id(delivery, tenant_created), body, now);
    }

    /// Remembers an attempt. Returns true when it looks like the retry of a forked delivery.
    ///
    /// A retry whose confirm was lost is published again, and then two chains of one delivery run until one succeeds.
    /// It shows when this process attempts the same number twice although the broker hands the message out for the
    /// first time. First attempts do not count: an event that was routed twice is not a fork.
    pub(crate) fn is_forked_retry(&self, delivery: &Delivery, is_redelivered: bool, now: Instant) -> bool {
        if delivery.attempt < 2 {
            return false;
        }
        let id = id(delivery, delivery.attempt.into());
        let was_attempted = self.attempted_retries.contains(id, now);
        self.attempted_retries.note(id, now);
        was_attempted && !is_redelivered
    }
}

/// The id under which a delivery is remembered with a number. A replay has its own, because it is posted whatever happened
/// before. Ids are digests, so that of one delivery and a number is not the id of another one.
fn id(delivery: &Delivery, number: u64) -> u128 {
    let id = match &delivery.replay {
        None => delivery.id.as_u128(),
        Some(replay) => seen::id_of(&delivery.tenant, 0, &format!("{} {replay}", delivery.id)),
    };
    id.wrapping_add(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::delivery;

    const BODY: &[u8] = br#"{"type":"a.b"}"#;

    fn recent() -> Recent {
        Recent::new(SeenConfig { ids: 10, window: Duration::from_secs(60) })
    }

    fn retry(attempt: u32) -> Delivery {
        Delivery { attempt, ..delivery("e1") }
    }

    #[test]
    fn a_replay_counts_as_another_delivery_and_each_replay_as_its_own() {
        let recent = recent();
        let replay = |job: &str| Delivery { replay: Some(job.into()), ..delivery("e1") };
        recent.delivered(&delivery("e1"), 0, BODY, Instant::now());
        assert!(recent.was_delivered(&retry(2), 0, BODY, Instant::now()), "a forked retry");
        assert!(!recent.was_delivered(&retry(2), 0, b"{}", Instant::now()), "another event with the same id");
        for other in [replay("r1"), delivery("e2")] {
            assert!(!recent.was_delivered(&other, 0, BODY, Instant::now()));
        }
        recent.delivered(&replay("r1"), 0, BODY, Instant::now());
        assert!(recent.was_delivered(&replay("r1"), 0, BODY, Instant::now()));
        assert!(!recent.was_delivered(&replay("r2"), 0, BODY, Instant::now()));
    }

    #[test]
    fn a_retry_attempted_twice_under_one_number_looks_forked() {
        let recent = recent();
        let forked = [2, 3, 2, 3, 4].map(|attempt| recent.is_forked_retry(&retry(attempt), false, Instant::now()));
        assert_eq!(forked, [false, false, true, true, false]);
    }

    #[test]
    fn a_retry_that_is_redelivered_is_not_forked_nor_is_that_of_another_delivery_or_replay() {
        let recent = recent();
        let is_forked = |delivery: &Delivery| recent.is_forked_retry(delivery, false, Instant::now());
        assert!(!is_forked(&retry(2)));
        assert!(!recent.is_forked_retry(&retry(2), true, Instant::now()), "its settlement was lost");
        assert!(!is_forked(&Delivery { attempt: 2, ..delivery("e2") }));
        assert!(!is_forked(&Delivery { replay: Some("r1".into()), ..retry(2) }));
        assert!(!is_forked(&retry(1)) && !is_forked(&retry(1)), "an event that was routed twice");
    }
}
