//! Events whose waiting deliveries are dropped, because their contact is erased. Control names them again and again until
//! nothing of them waits.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use schemas::{Delivery, EventId};
use tokio::time::Instant;

/// Time after which an event is forgotten that is not named again.
const KEPT: Duration = Duration::from_secs(60);
/// Most events that are known at once, some 100 bytes each. Control names others once nothing of these waits.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct ErasedEvents {
    /// By tenant and event: when each is forgotten.
    events: Mutex<HashMap<(String, EventId), Instant>>,
    /// False while there are none, so that a delivery then costs no lock.
    are_there: AtomicBool,
}

impl ErasedEvents {
    pub(crate) fn note(&self, tenant: &str, event_ids: Vec<EventId>, now: Instant) {
        let mut events = self.lock();
        events.retain(|_, until| *until > now);
        let room = MOST.saturating_sub(events.len());
        events.extend(event_ids.into_iter().take(room).map(|event| ((tenant.to_owned(), event), now + KEPT)));
        self.are_there.store(!events.is_empty(), Relaxed);
    }

    pub(crate) fn contain(&self, delivery: &Delivery, now: Instant) -> bool {
        self.are_there.load(Relaxed)
            && self.lock().get(&(delivery.tenant.clone(), delivery.event_id.clone())).is_some_and(|until| *until > now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, EventId), Instant>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::delivery;

    #[test]
    fn an_event_that_is_not_named_again_is_forgotten() {
        let (erased, now) = (ErasedEvents::default(), Instant::now());
        let of_event = delivery("e1");
        assert!(!erased.contain(&of_event, now));
        erased.note(&of_event.tenant, vec![of_event.event_id.clone()], now);
        assert!(erased.contain(&of_event, now + KEPT / 2));
        assert!(!erased.contain(&delivery("e2"), now));
        assert!(!erased.contain(&Delivery { tenant: "other".into(), ..of_event.clone() }, now));
        erased.note(&of_event.tenant, vec![of_event.event_id.clone()], now + KEPT / 2);
        assert!(erased.contain(&of_event, now + KEPT));
        assert!(!erased.contain(&of_event, now + KEPT * 2));
    }
}
