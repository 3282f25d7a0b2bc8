//! Keeps the last snapshot in an encrypted file, for a process that starts while the database is away.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use service::atomic_file;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    Item, ItemKind, ItemVersion, Keyring, Snapshot, StoreError, TenantSnapshot,
    edit::items,
    row::{ItemSecrets, join_secrets, split_secrets},
    snapshot::{StoredItem, current::CurrentSnapshot},
};

/// Time from a write of so many bytes to the next, so that an import with a thousand changes does not write a thousand
/// snapshots: a second for each megabyte. A process that is restarted while the database is away lacks the changes of
/// this time.
fn pause(bytes: usize) -> Duration {
    Duration::from_secs((bytes as u64 / 1_000_000).clamp(3, 30))
}

#[derive(Clone)]
pub(crate) struct SnapshotCache {
    path: PathBuf,
    /// The file is sealed for this database, because the snapshot of another one is as wrong as a forged one.
    database: String,
    keyring: Arc<Keyring>,
}

#[derive(Serialize, Deserialize)]
struct CachedSnapshot {
    revision: u64,
    #[serde(rename = "lines")]
    items: Vec<CachedItem>,
}

/// One item with readable secrets: the whole file is sealed.
#[derive(Serialize, Deserialize)]
struct CachedItem {
    tenant: String,
    kind: String,
    version: u64,
    #[serde(default)]
    created: u64,
    body: String,
    #[serde(default, skip_serializing_if = "ItemSecrets::is_empty")]
    hidden: ItemSecrets,
}

impl SnapshotCache {
    pub(crate) fn new(path: PathBuf, database: &str, keyring: Arc<Keyring>) -> Self {
        Self { path, database: format!("snapshot of {database}"), keyring }
    }

    /// Sets the snapshot from the file, unless the database has answered in the meantime.
    pub(crate) async fn recall(&self, current: &CurrentSnapshot) {
        let cache = self.clone();
        if let Ok(Some(snapshot)) = spawn_blocking(move || cache.read()).await
            && current.begin(Arc::new(snapshot))
        {
            tracing::info!(revision = *current.revision().borrow(), "store.snapshot_recalled");
        }
    }

    /// Writes every new snapshot to the file, until the future is dropped.
    pub(crate) async fn keep(self, current: Arc<CurrentSnapshot>) {
        let mut revision = current.revision();
        let mut failed = false;
        loop {
            if let Some(snapshot) = current.snapshot() {
                revision.mark_unchanged();
                let cache = self.clone();
                let written = spawn_blocking(move || cache.write(&snapshot)).await;
                let written = written.unwrap_or_else(|error| Err(StoreError(error.to_string())));
                let bytes = *written.as_ref().unwrap_or(&0);
                let error = written.err().map(|error| error.0);
                if let Some(error) = &error
                    && !failed
                {
                    tracing::warn!(error, "store.snapshot_not_written");
                }
                failed = error.is_some();
                sleep(pause(bytes)).await;
            }
            if revision.changed().await.is_err() {
                return;
            }
        }
    }

    /// Replaces the file, and returns how many bytes it has. Blocks.
    fn write(&self, snapshot: &Snapshot) -> Result<usize, StoreError> {
        let items = snapshot.tenants().flat_map(cached_items).collect();
        let plain = serde_json::to_vec(&CachedSnapshot { revision: snapshot.revision(), items });
        let plain = plain.map_err(|error| self.failed(&error))?;
        let sealed = self.keyring.seal(&self.database, &plain)?;
        atomic_file::write(&self.path, |file| file.write_all(&sealed)).map_err(|error| self.failed(&error))?;
        Ok(sealed.len())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError(format!("{}: {error}", self.path.display()))
    }

    /// Reads the last snapshot, if there is one. A file that is damaged, or was sealed with another key, is ignored
    /// with a warning: a wrong key becomes an error once the database itself is reached. Blocks.
    fn read(&self) -> Option<Snapshot> {
        let sealed = std::fs::read(&self.path).ok()?;
        let plain = self.keyring.open(&self.database, &sealed);
        let plain = plain.inspect_err(|error| warn_ignored(&self.path, error)).ok()?;
        // serde's own message could quote a secret.
        let cached = serde_json::from_slice::<CachedSnapshot>(&plain);
        let cached = cached.inspect_err(|_| warn_ignored(&self.path, &"it has another form")).ok()?;
        let read = cached.items.into_iter().map(stored_item).collect::<Option<Vec<_>>>();
        if read.is_none() {
            warn_ignored(&self.path, &"it was written by another version");
        }
        Some(Snapshot::default().replaced(cached.revision, read?))
    }
}

fn warn_ignored(path: &Path, why: &dyn std::fmt::Display) {
    tracing::warn!(file = %path.display(), error = %why, "store.snapshot_ignored");
}

fn cached_items(tenant: &Arc<TenantSnapshot>) -> Vec<CachedItem> {
    let cached = |item: Item| {
        let (body, hidden) = split_secrets(&item);
        CachedItem {
            tenant: tenant.id.clone(),
            kind: item.kind().name().to_owned(),
            version: tenant.versions.of(item.kind(), item.id()).unwrap_or(0),
            created: tenant.versions.created(item.kind(), item.id()),
            body: body.to_string(),
            hidden,
        }
    };
    items(&tenant.to_tenant()).into_iter().map(cached).collect()
}

fn stored_item(cached: CachedItem) -> Option<StoredItem> {
    let kind = ItemKind::named(&cached.kind)?;
    let item = join_secrets(kind, &cached.body, cached.hidden).ok()?;
    let CachedItem { tenant, version: changed, created, .. } = cached;
    let version = ItemVersion { changed, created };
    Some(StoredItem { tenant, kind, id: item.id().to_owned(), version, item: Some(item) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_snapshot_is_written_less_often() {
        let seconds = |bytes| pause(bytes).as_secs();
        assert_eq!([0, 3_999_999, 12_000_000, 45_000_000].map(seconds), [3, 3, 12, 30]);
    }
}
