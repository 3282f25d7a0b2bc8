//! What a backend provides to be tested: a new broker, and the faults that can be injected. It judges nothing.

use std::{sync::Arc, time::Duration};

use broker::Broker;
use service::Clock;
use tokio::time::Instant;

/// What a backend can do: a scenario leaves out what it cannot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// True when confirmed messages survive a crash: [`Fixture::restart`] works.
    pub(crate) durable: bool,
    /// True when publishing can be made to fail from outside: [`Fixture::block`] works.
    pub(crate) blocks: bool,
    /// True when due times are kept to the millisecond; otherwise one that is not `exact` may end 5 % of the wait early.
    pub(crate) precise: bool,
}

/// An empty broker of its own for one test. Its drop removes everything.
pub(crate) trait Fixture: Sized {
    /// Starts an empty broker, whose connection is ready.
    async fn start() -> Self;

    fn features(&self) -> Features;

    /// The broker; after a restart a new one.
    fn broker(&self) -> Arc<dyn Broker>;

    /// The clock that the broker uses.
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

    /// Lets publishes succeed again. Only if `blocks`.
    async fn unblock(&mut self) {
        unreachable!("this backend cannot be blocked");
    }
}

/// A clock that runs with tokio's, so that it stands still and jumps with paused time.
pub(crate) fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || 1_790_000_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// How long anything may take on a busy machine before a test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for something that happens by itself.
///
/// # Panics
/// When it does not happen in time.
pub(crate) async fn eventually<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(came) => came,
        Err(_) => panic!("in {TIMEOUT:?} it did not happen that {what}"),
    }
}
