//! Tenants and what they configured, as an immutable snapshot that readers hold.
//!
//! [`Store`] is the trait. `file:` reads a folder of YAML; `sqlite:` and `postgres:` are databases that can also be
//! changed through it. Readers never wait for a store: they use the last good [`Snapshot`] and keep delivering while the
//! store is away.

mod access;
mod config;
mod copy;
mod decode_error;
mod dump;
mod edit;
mod error;
mod file;
mod invalid_field;
mod json;
mod key_file;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod outbox;
mod postgres;
mod retention;
mod row;
mod seal;
mod snapshot;
mod snapshot_cache;
mod sqlite;
mod usage_and_audit;
pub mod validate;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;

pub use access::{Access, Denied, Principal, access, admit};
pub use config::{InvalidStoreUrl, Location, StoreConfig};
pub use copy::{copy_in, copy_out};
pub use edit::{
    Author, Decision, Draft, Edit, EditError, EditRefusal, Edited, Item, ItemChange, ItemKind, TenantSelection,
    Versions, decide,
};
pub use error::{StoreError, StoreOpenError};
pub use file::{Description, FileStore};
pub use invalid_field::{FieldPath, InvalidField, PathSegment};
pub use json::read_json;
pub use key_file::KeyFile;
#[cfg(any(test, feature = "testing"))]
pub use memory::{MemoryStore, Pulled};
pub use outbox::Outbox;
pub use postgres::PostgresStore;
pub use retention::RetentionTable;
pub use seal::{Keyring, WeakKey};
pub use snapshot::{Snapshot, SourceRef, TenantSnapshot, current::SyncStatus};
pub use sqlite::{SqliteStore, back_up, lock};
pub use usage_and_audit::{AuditEntry, Usage, UsageAndAudit, UsageReport};

/// Where tenants, endpoints, subscriptions, sources and keys are stored.
pub trait Store: Send + Sync {
    /// The last good snapshot; none when there never was one. A role without a snapshot does not consume: its events
    /// would match nothing and be settled, which is loss.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// The revision of the last good snapshot; sees every change to the latest value. 0 stands for "none yet".
    fn revision(&self) -> watch::Receiver<u64>;

    /// Reads changes now and returns once they are in the snapshot. Called before an unknown key, source, tenant or
    /// endpoint is refused, since it may be new.
    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How new the snapshot is. The default is that of a store that nothing else writes to: it always is the newest.
    fn sync_status(&self) -> SyncStatus {
        SyncStatus::always()
    }

    /// Changes what is configured, all or nothing. Returns once the change is durable and in this store's own snapshot.
    ///
    /// # Errors
    /// Why nothing was changed: refused, a store that is changed by other means (the default), or one that is away.
    fn edit(&self, _: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        std::future::ready(Err(EditError::ReadOnly)).boxed()
    }

    /// Encrypts everything anew that another key than the newest has encrypted, and returns how many items that were.
    /// Afterwards the older keys can be removed, once no process writes with them. Revisions and versions stay: nothing
    /// has changed.
    ///
    /// # Errors
    /// What cannot be read or written; what was written until then stays.
    fn reseal(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        std::future::ready(Ok(0)).boxed()
    }

    /// Usage and the audit log, where the store keeps them.
    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        None
    }
}
