//! Waiting: for a signal, or, where only sockets can tell, by looking again and again. Nothing else here polls or sleeps.

use std::{future::Future, time::Duration};

/// Longer than anything here takes on a busy machine: a broker that starts, and the back-off of those that wait for it.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Waits for a signal.
pub(crate) async fn in_time<T>(what: &str, signal: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, signal).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    in_time(what, async {
        let mut next = tokio::time::interval(LOOK);
        loop {
            next.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    })
    .await
}
