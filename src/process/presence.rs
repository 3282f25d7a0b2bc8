//! What a process tells others of itself: that it runs, and how it is.

use std::{collections::BTreeMap, sync::Arc};

use broker::sqlite::StorageState;
use schemas::process_report::{PartReport, ProcessReport, StorageReport};
use service::{Clock, ops::Ops};
use store::Store;
use tokio::sync::watch;

use super::roles::{Roles, SharedDependencies};
use crate::{VERSION, config::Config};

/// Most characters of a reason.
const MAX_DETAIL: usize = 300;

pub(super) struct Presence {
    process: String,
    roles: Roles,
    host: String,
    started_at: u64,
    store: Arc<dyn Store>,
    clock: Clock,
    ops: Ops,
    /// How full the embedded broker is; none with another broker.
    storage: Option<watch::Receiver<StorageState>>,
    /// `broker.max_bytes`; none without such a limit.
    max_bytes: Option<u64>,
}

impl Presence {
    pub(super) fn new(
        config: &Config,
        roles: Roles,
        shared: &SharedDependencies,
        ops: &Ops,
        storage: &watch::Receiver<StorageState>,
    ) -> Self {
        Self {
            process: shared.outbox.process().to_owned(),
            roles,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            started_at: (shared.clock)(),
            store: shared.store.clone(),
            clock: shared.clock.clone(),
            ops: ops.clone(),
            storage: config.broker.is_embedded().then(|| storage.clone()),
            max_bytes: Some(config.broker.max_bytes).filter(|bytes| *bytes > 0),
        }
    }

    pub(super) fn report(&self, leaves: bool) -> ProcessReport {
        let storage = self.storage.as_ref().map(|storage| {
            let StorageState { used_bytes, free_bytes, .. } = *storage.borrow();
            StorageReport { used: used_bytes, free: free_bytes, max: self.max_bytes }
        });
        let synced_at = self.store.sync_status().synced_at;
        ProcessReport {
            process: self.process.clone(),
            roles: self.roles.names().map(str::to_owned).collect(),
            version: VERSION.to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            started_at: self.started_at.min((self.clock)()),
            revision: self.store.snapshot().map_or(0, |snapshot| snapshot.shared_revision()),
            synced_ms_ago: synced_at.map(|at| schemas::time::millis(at.elapsed())),
            missing: parts(self.ops.missing().into_iter().chain(self.ops.stuck())),
            degraded: parts(self.ops.degradations().into_iter()),
            storage,
            leaves,
        }
    }
}

/// The parts by name, with their reasons cut to a bounded length.
fn parts(found: impl Iterator<Item = (&'static str, String)>) -> Vec<PartReport> {
    let found: BTreeMap<_, _> = found.collect();
    let part = |(part, detail): (&str, String)| PartReport {
        part: part.to_owned(),
        detail: detail.chars().take(MAX_DETAIL).collect(),
    };
    found.into_iter().map(part).collect()
}
