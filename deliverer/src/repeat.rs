//! Deliveries that this process has just seen succeed: their repeats are settled without a POST.
//!
//! Repeats come from settlements that got lost, retries that were forked, and events that were fanned out twice. What
//! this does not see (another process's, or from before a restart) the receiver recognises by its `webhook-id`.

use schemas::Delivery;
use service::{Seen, SeenConfig, seen};

/// The deliveries that got their 2xx here of late.
#[derive(Debug)]
pub(crate) struct Delivered(Seen);

impl Delivered {
    pub(crate) fn new(config: SeenConfig) -> Self {
        Self(Seen::new(config))
    }

    /// Whether it got its 2xx. `now` is unix ms.
    pub(crate) fn contains(&self, delivery: &Delivery, now: u64) -> bool {
        self.0.contains(key(delivery), now)
    }

    /// Notes that it got its 2xx. Not for any other end: whatever ends otherwise may have to be posted yet.
    pub(crate) fn note(&self, delivery: &Delivery, now: u64) {
        self.0.note(key(delivery), now);
    }
}

/// A replay is meant to be posted, whatever was before; but once.
pub(crate) fn key(delivery: &Delivery) -> u128 {
    match &delivery.replay {
        // It is a digest of tenant, event, endpoint and part.
        None => delivery.id.as_u128(),
        Some(replay) => seen::id_of(&delivery.tenant, &format!("{} {replay}", delivery.id)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::fixture::{START, delivery};

    #[test]
    fn a_replay_is_another_delivery_and_each_is_its_own() {
        let delivered = Delivered::new(SeenConfig { ids: 10, window: Duration::from_secs(60) });
        let replay = |job: &str| Delivery { replay: Some(job.into()), ..delivery("e1") };
        delivered.note(&delivery("e1"), START);
        assert!(delivered.contains(&Delivery { attempt: 2, ..delivery("e1") }, START), "a forked retry");
        for other in [replay("r1"), delivery("e2")] {
            assert!(!delivered.contains(&other, START));
        }
        delivered.note(&replay("r1"), START);
        assert!(delivered.contains(&replay("r1"), START));
        assert!(!delivered.contains(&replay("r2"), START));
    }
}
