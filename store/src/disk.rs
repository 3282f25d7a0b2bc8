//! The last snapshot on the disk, encrypted, for a process that starts while the database is away.

use std::{io::Write as _, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use service::atomic_file;

use crate::{
    Item, ItemKind, Keyring, Snapshot, StoreError, TenantSnapshot,
    edit::items,
    row::{ItemSecrets, join_secrets, split_secrets},
    tenant_snapshot::StoredItem,
};

/// All of it.
#[derive(Serialize, Deserialize)]
struct CachedSnapshot {
    revision: u64,
    lines: Vec<CachedItem>,
}

/// One item, its secrets in the clear: the whole page is sealed.
#[derive(Serialize, Deserialize)]
struct CachedItem {
    tenant: String,
    kind: String,
    version: u64,
    body: String,
    #[serde(default, skip_serializing_if = "ItemSecrets::is_empty")]
    hidden: ItemSecrets,
}

/// Where it belongs: a snapshot of another database is as bad as one that was tampered with.
fn place(database: &str) -> String {
    format!("snapshot of {database}")
}

/// Writes a snapshot of this database in the place of the last one. Blocks.
pub(crate) fn write(path: &Path, database: &str, snapshot: &Snapshot, keyring: &Keyring) -> Result<(), StoreError> {
    let lines = snapshot.tenants().flat_map(lines).collect();
    let page = CachedSnapshot { revision: snapshot.revision(), lines };
    let failed = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
    let plain = serde_json::to_vec(&page).map_err(|error| failed(&error))?;
    let sealed = keyring.seal(&place(database), &plain)?;
    atomic_file::write(path, |file| file.write_all(&sealed)).map_err(|error| failed(&error))
}

fn lines(tenant: &Arc<TenantSnapshot>) -> Vec<CachedItem> {
    let line = |item: Item| {
        let (body, hidden) = split_secrets(&item);
        CachedItem {
            tenant: tenant.id.clone(),
            kind: item.kind().name().to_owned(),
            version: tenant.versions.of(item.kind(), item.id()).unwrap_or(0),
            body: body.to_string(),
            hidden,
        }
    };
    items(&tenant.to_tenant()).into_iter().map(line).collect()
}

/// Reads the snapshot of this database. None where there is none; what is damaged, or was sealed with another key, is
/// left out with a warning: the database itself will tell. Blocks.
pub(crate) fn read(path: &Path, database: &str, keyring: &Keyring) -> Option<Snapshot> {
    let sealed = std::fs::read(path).ok()?;
    let refuse = |why: &dyn std::fmt::Display| {
        tracing::warn!(file = %path.display(), error = %why, "store.snapshot_ignored");
    };
    let plain = keyring.open(&place(database), &sealed).inspect_err(|error| refuse(error)).ok()?;
    // What serde says could quote a secret.
    let page: CachedSnapshot = serde_json::from_slice(&plain).inspect_err(|_| refuse(&"it has another form")).ok()?;
    let read = page.lines.into_iter().map(kept).collect::<Option<Vec<_>>>();
    if read.is_none() {
        refuse(&"it was written by another version");
    }
    Some(Snapshot::default().replaced(page.revision, read?))
}

fn kept(line: CachedItem) -> Option<StoredItem> {
    let kind = ItemKind::named(&line.kind)?;
    let item = join_secrets(kind, &line.body, line.hidden).ok()?;
    Some(StoredItem { tenant: line.tenant, kind, id: item.id().to_owned(), version: line.version, item: Some(item) })
}
