//! Stores tenants and their configuration, as an immutable snapshot that readers hold.
//!
//! [`Store`] is the trait. `file:` reads a folder of YAML. `sqlite:` and `postgres:` are databases that can also be
//! changed through it. Readers never wait for a store: they use the last good [`Snapshot`], and keep delivering while
//! the store is away.

mod access;
mod config;
mod control_state;
mod copy;
mod decode_error;
mod dump;
mod edit;
mod error;
mod event_shares;
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
pub use control_state::{ControlState, Job, JobProgress, JobQuery, JobState};
pub use copy::{copy_in, copy_out};
pub use edit::{
    Author, Decision, Draft, Edit, EditError, EditRefusal, Edited, Item, ItemChange, ItemKind, ItemVersion,
    TenantSelection, Versions, decide,
};
pub use error::{StoreError, StoreOpenError};
pub use event_shares::EventShares;
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
pub use snapshot::{Snapshot, SourceRef, TenantSnapshot, current::SyncStatus, is_older};
pub use sqlite::{SqliteControlState, SqliteStore, back_up, back_up_control_state, lock};
pub use usage_and_audit::{AuditEntry, Usage, UsageAndAudit, UsageReport, UsageScope};

pub trait Store: Send + Sync {
    /// Returns the last good snapshot, or none if there never was one. A role without a snapshot does not consume: its
    /// events would match nothing and be settled, which would lose them.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// Watches the revision of the last good snapshot. 0 stands for "none yet".
    fn revision(&self) -> watch::Receiver<u64>;

    /// Reads changes now and returns once they are in the snapshot. Callers use it before they refuse an unknown key,
    /// source, tenant or endpoint, which may be new.
    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Tells how new the snapshot is. By default it always is the newest, as in a store that nothing else writes to.
    fn sync_status(&self) -> SyncStatus {
        SyncStatus::always()
    }

    /// Changes the configuration, all or nothing. Returns once the change is durable and in this store's own snapshot.
    ///
    /// # Errors
    /// The change is refused, the store is changed by other means (the default), or the store is away.
    fn edit(&self, _: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        std::future::ready(Err(EditError::ReadOnly)).boxed()
    }

    /// Encrypts again everything that another key than the newest has encrypted, and returns the number of items. The
    /// older keys can be removed afterwards, once no process writes with them. Revisions and versions stay, because
    /// nothing has changed.
    ///
    /// # Errors
    /// Something cannot be read or written. Everything that was written before the error stays.
    fn reseal(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        std::future::ready(Ok(0)).boxed()
    }

    /// Returns usage and the audit log, if the store keeps them.
    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        None
    }

    /// Returns jobs and leases, if this process opened the store for control.
    fn control_state(&self) -> Option<&dyn ControlState> {
        None
    }
}
