//! The timer of the memory broker: a task that runs while anything is delayed, and moves due messages to their lane.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::SharedState;

pub(super) fn start(shared: &Arc<SharedState>) {
    shared.earlier_due.notify_one();
    if !std::mem::replace(&mut shared.lock().has_timer, true) {
        tokio::spawn(run(Arc::downgrade(shared)));
    }
}

/// Ends when the broker is dropped or nothing is delayed any more.
async fn run(broker: Weak<SharedState>) {
    loop {
        let Some(shared) = broker.upgrade() else { return };
        let now = (shared.clock)();
        let next = shared.change(|state| {
            let next = state.release_due(now);
            state.has_timer = next.is_some();
            next
        });
        let Some(next) = next else { return };
        let sleep = tokio::time::sleep(Duration::from_millis(next.saturating_sub(now)));
        let earlier_due = shared.earlier_due.clone();
        // A sleeping timer keeps no broker alive.
        drop(shared);
        tokio::select! {
            () = sleep => {}
            () = earlier_due.notified() => {}
        }
    }
}
