//! What a backend has to bring to be tested: a fresh broker, and the faults that can be done to it. It judges nothing.

use std::{sync::Arc, time::Duration};

use broker::Broker;
use service::Clock;
use tokio::time::Instant;

/// What a backend can do, honestly: a scenario leaves out what a backend cannot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// What was confirmed outlives a crash: [`Fixture::restart`] works.
    pub(crate) durable: bool,
    /// Publishing can be made to fail from outside: [`Fixture::block`] works.
    pub(crate) blocks: bool,
    /// Due times are kept to the millisecond; otherwise one that is not `exact` may end 5 % of the wait early.
    pub(crate) precise: bool,
}

/// A broker of its own for one test, and nothing in it. Dropping it takes everything away again.
pub(crate) trait Fixture: Sized {
    /// Starts an empty broker that is ready: `link()` says so.
    async fn start() -> Self;

    /// What it can do.
    fn features(&self) -> Features;

    /// The broker; after a restart a new one.
    fn broker(&self) -> Arc<dyn Broker>;

    /// The clock the broker was given.
    fn clock(&self) -> Clock;

    /// Ends the broker as a crash would, without flushing, and opens it again on what is left; returns when it is
    /// ready. Only if `durable`.
    async fn restart(&mut self) {
        unreachable!("this backend is not durable");
    }

    /// Makes publishes fail soon: those under way, and those to come. Only if `blocks`.
    async fn block(&mut self) {
        unreachable!("this backend cannot be blocked");
    }

    /// Ends that.
    async fn unblock(&mut self) {
        unreachable!("this backend cannot be blocked");
    }
}

/// A clock that runs with tokio's, so that it stands still and jumps together with paused time.
pub(crate) fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || 1_790_000_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// How long a thing may take on a busy machine before a test calls it missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what comes by itself.
///
/// # Panics
/// When it does not come.
pub(crate) async fn eventually<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(came) => came,
        Err(_) => panic!("in {PATIENCE:?} it did not happen that {what}"),
    }
}
