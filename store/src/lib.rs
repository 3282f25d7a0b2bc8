//! The memory: tenants and what they configured, as an immutable snapshot that readers hold.
//!
//! [`Store`] is the seam. `file` reads a folder of YAML; databases implement the same trait. Readers never wait for a
//! store: they take the last good [`Snapshot`] and keep delivering while the store is away.

mod access;
mod config;
mod file;
mod nearest;
mod problem;
mod snapshot;
pub mod validate;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use access::{Access, Caller, Denied, access, admit};
pub use config::{InvalidStoreUrl, StoreConfig};
pub use file::FileStore;
pub use problem::{Path, Problem, Step};
pub use snapshot::{Snapshot, SourceRef, TenantSnapshot};

/// Where tenants, endpoints, subscriptions, sources and keys are kept.
pub trait Store: Send + Sync {
    /// The last good snapshot; none when there never was one. A role without a snapshot does not consume: its events
    /// would match nothing and be settled, which is loss.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// The revision of the last good snapshot; sees every change to the latest value. 0 stands for "none yet".
    fn revision(&self) -> watch::Receiver<u64>;

    /// Looks for changes now and returns once they are in the snapshot: asked before an unknown key, source, tenant or
    /// endpoint is refused, since it may be new.
    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Why the store could not be read. The last good snapshot stays in force.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
