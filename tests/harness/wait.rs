//! Waiting for a signal, or, where only sockets can tell, looking again and again. Nothing else in these tests polls or
//! sleeps.

use std::{future::Future, io::Write as _, time::Duration};

/// Longest wait. It exceeds everything here on a busy machine: a broker's start, and the pauses of those that wait for it.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Waits for a signal, and panics when it does not come in time.
pub(crate) async fn in_time<T>(what: &str, signal: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, signal).await.unwrap_or_else(|_| panic!("not within {TIMEOUT:?}: {what}"))
}

/// Looks again and again until there is a result, and panics when none comes in time.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    in_time(what, async {
        let mut next = tokio::time::interval(POLL);
        loop {
            next.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    })
    .await
}

/// Prints figures of a test that are worth reading also when it passes: past the capture of test output.
pub(crate) fn report(test: &str, figures: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "    {test}: {figures}").expect("stderr");
}
