//! The loop of every consuming role: a task for each message, settled where the task ends, drained on request.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use service::watchdog::TURN;
use tokio::{
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Consumer, ConsumerStatus, Incoming, Queue, Settlement};

/// Number of messages that are taken in one turn of the runtime.
const AT_ONCE: u32 = 64;
/// The same for a queue that gives way.
const GIVING_WAY_AT_ONCE: u32 = 8;

pub trait Handler: Send + Sync + 'static {
    /// Handles the message and returns its settlement, which may be `Done` only once all that follows is confirmed.
    fn handle(&self, incoming: &Incoming) -> impl Future<Output = Settlement> + Send;

    /// Parks a message that made `handle` panic twice.
    fn panicked(&self, incoming: &Incoming) -> impl Future<Output = Settlement> + Send;
}

/// Hands every message of `consumer` to `handler`, each in a task of its own, until `stop` is cancelled; then waits for
/// these tasks. The consumer's prefetch bounds their number.
///
/// The messages of a queue that gives way come in only as fast as the runtime gets its other tasks done: a process that is
/// busy takes fewer of them, and one that has time takes all.
pub async fn run_handler<H: Handler>(
    from: Queue,
    mut consumer: Consumer,
    handler: Arc<H>,
    stop: CancellationToken,
    status: Arc<ConsumerStatus>,
) {
    let tasks = TaskTracker::new();
    status.begin(&consumer, Instant::now());
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let at_once = if from.gives_way() { GIVING_WAY_AT_ONCE } else { AT_ONCE };
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = turns.tick() => {
                status.turn(Instant::now());
                continue;
            }
            incoming = consumer.next() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let (mut next, mut taken) = (Some(incoming), 0);
        while let Some(incoming) = next {
            let handler = handler.clone();
            tasks.spawn(status.hold(async move {
                let settlement = handle_or_catch(&*handler, &incoming).await;
                incoming.settle(settlement);
            }));
            taken += 1;
            next = if taken < at_once { consumer.next_ready() } else { None };
        }
        if taken == at_once {
            yield_now().await;
        }
    }
    drop(consumer);
    tasks.close();
    tasks.wait().await;
}

/// After a first panic the message comes again; a second one shows that the message itself is the cause.
async fn handle_or_catch<H: Handler>(handler: &H, incoming: &Incoming) -> Settlement {
    match AssertUnwindSafe(handler.handle(incoming)).catch_unwind().await {
        Ok(settlement) => settlement,
        Err(_) if incoming.count == 0 => Settlement::Again,
        Err(_) => handler.panicked(incoming).await,
    }
}

#[cfg(test)]
mod tests;
