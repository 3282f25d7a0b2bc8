//! The loop of every consuming role: a task per message, settled where it ends, drained on request.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Consumer, Incoming, Settlement, Watchdog, progress::TURN};

/// What a role does with a message.
pub trait Handler: Send + Sync + 'static {
    /// Does it, and says how the message ends. Only once all that follows from it is confirmed may that be `Done`.
    fn handle(&self, incoming: &Incoming) -> impl Future<Output = Settlement> + Send;

    /// The message made `handle` panic twice: it is put where it can be looked at.
    fn panicked(&self, incoming: &Incoming) -> impl Future<Output = Settlement> + Send;
}

/// Hands every message of `consumer` to `handler`, each in a task of its own, until `stop` reads true; then what is
/// under way is finished. The consumer's prefetch bounds how many run at once. `progress` knows how that goes.
pub async fn run_handler<H: Handler>(
    mut consumer: Consumer,
    handler: Arc<H>,
    stop: CancellationToken,
    progress: Arc<Watchdog>,
) {
    let tasks = TaskTracker::new();
    progress.begins(consumer.grant(), Instant::now());
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = turns.tick() => {
                progress.turns(Instant::now());
                continue;
            }
            incoming = consumer.next() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let handler = handler.clone();
        tasks.spawn(progress.clone().carry(async move {
            let settlement = handle_or_catch(&*handler, &incoming).await;
            incoming.settle(settlement);
        }));
    }
    drop(consumer);
    tasks.close();
    tasks.wait().await;
}

/// A first panic may be bad luck, so the message comes again; at the second it is poison.
async fn handle_or_catch<H: Handler>(handler: &H, incoming: &Incoming) -> Settlement {
    match AssertUnwindSafe(handler.handle(incoming)).catch_unwind().await {
        Ok(settlement) => settlement,
        Err(_) if incoming.count == 0 => Settlement::Again,
        Err(_) => handler.panicked(incoming).await,
    }
}

#[cfg(test)]
mod tests;
