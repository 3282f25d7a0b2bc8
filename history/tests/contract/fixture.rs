//! A history that a test may close and open again.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use history::History;

/// Makes histories of one backend.
pub(crate) trait Fixture: Send {
    fn history(&self) -> Arc<dyn History>;

    /// Closes it and opens it again, as after a restart of the process.
    fn reopen(&mut self) -> BoxFuture<'_, ()>;
}

/// Bytes that a fixture's history keeps.
pub(crate) const MAX_BYTES: u64 = 1_000_000_000;
