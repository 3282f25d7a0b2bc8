//! The one task of the memory broker: it is there while something is delayed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::Shared;

/// Makes sure that somebody waits for what is delayed.
pub(super) fn start(shared: &Arc<Shared>) {
    shared.sooner.notify_one();
    if !std::mem::replace(&mut shared.lock().timed, true) {
        tokio::spawn(wait(Arc::downgrade(shared)));
    }
}

/// Ends with the broker, or when nothing is delayed any more.
async fn wait(broker: Weak<Shared>) {
    loop {
        let Some(shared) = broker.upgrade() else { return };
        let now = (shared.clock)();
        let next = shared.change(|state| {
            let next = state.wake(now);
            state.timed = next.is_some();
            next
        });
        let Some(next) = next else { return };
        let sleep = tokio::time::sleep(Duration::from_millis(next.saturating_sub(now)));
        let sooner = shared.sooner.clone();
        // A sleeping timer keeps no broker alive.
        drop(shared);
        tokio::select! {
            () = sleep => {}
            () = sooner.notified() => {}
        }
    }
}
