//! Whether the process can work at all: its broker and its snapshot, as probes and as metrics.

use std::time::Duration;

use broker::ConnectionState;
use service::ops::Ops;
use store::SyncStatus;
use tokio::time::interval;

use super::roles::SharedDependencies;

service::metrics! {
    /// What every process says of its broker and its snapshot.
    pub(crate) struct Vitals {
        /// 1 while messages can be consumed.
        connected: IntGauge("broker_connected"),
        /// 1 while the broker takes no publishes.
        blocked: IntGauge("broker_blocked"),
        /// How often the broker was lost and came back.
        reconnects: IntCounter("broker_reconnects_total"),
        /// The revision of the snapshot in force; 0 while there is none, and with `file:`, whose readers count for themselves.
        revision: IntGauge("config_revision"),
        /// Unix time at which the store was last known to hold nothing newer than the snapshot in force.
        confirmed: Gauge("config_confirmed_timestamp_seconds"),
        /// Looks at the store that failed, also at what is wrong with its files; the snapshot stayed as it was.
        reload_failures: IntCounter("config_reload_failures_total"),
    }
}

/// How often the store is asked how new its snapshot is.
const LOOK: Duration = Duration::from_secs(5);

/// Registers the probes, and keeps the metrics up to date for as long as the process runs.
pub(super) fn watch(ops: &Ops, shared: &SharedDependencies) -> anyhow::Result<()> {
    let (link, store) = (shared.broker.connection_state(), shared.store.clone());
    ops.ready("broker", move || match &*link.borrow() {
        ConnectionState::Ready => Ok(()),
        ConnectionState::Away(why) => Err(why.clone()),
        ConnectionState::Blocked(why) => Err(format!("blocked: {why}")),
    });
    ops.ready("store", move || match store.snapshot() {
        Some(_) => Ok(()),
        None => Err("there is no snapshot yet".to_owned()),
    });
    tokio::spawn(keep(Vitals::register(&shared.registry)?, shared));
    Ok(())
}

/// Keeps them up to date until the process is asked to end: a broker that goes away after that was closed by it.
fn keep(vitals: Vitals, shared: &SharedDependencies) -> impl Future<Output = ()> + use<> {
    let (mut link, mut revision) = (shared.broker.connection_state(), shared.store.revision());
    let (store, clock, shutdown) = (shared.store.clone(), shared.clock.clone(), shared.shutdown.clone());
    async move {
        let (mut looks, mut was_lost, mut said) = (interval(LOOK), false, Said::default());
        while !shutdown.is_cancelled() {
            let now = link.borrow_and_update().clone();
            if said.is_new(&now) {
                vitals.note(&now, &mut was_lost);
            }
            loop {
                let is_shared = store.snapshot().is_some_and(|snapshot| snapshot.has_shared_revisions());
                let known = if is_shared { *revision.borrow_and_update() } else { 0 };
                vitals.revision.set(i64::try_from(known).unwrap_or(i64::MAX));
                vitals.note_freshness(store.sync_status(), clock());
                tokio::select! {
                    Ok(()) = link.changed() => break,
                    Ok(()) = revision.changed() => {}
                    _ = looks.tick() => {}
                }
            }
        }
    }
}

/// Different reasons of one absence that are said, at most.
const REASONS: usize = 16;

/// What was said of the link since it last stood. Each try to reach a broker that is away ends in the same words, or, where
/// several hosts take turns, in those of one of them.
#[derive(Default)]
struct Said(Vec<ConnectionState>);

impl Said {
    fn is_new(&mut self, link: &ConnectionState) -> bool {
        let is_away = |link: &ConnectionState| matches!(link, ConnectionState::Away(_));
        if self.0.contains(link) || is_away(link) && self.0.len() > REASONS {
            return false;
        }
        self.0.retain(|said| is_away(link) && is_away(said));
        self.0.push(link.clone());
        true
    }
}

impl Vitals {
    fn note(&self, link: &ConnectionState, was_lost: &mut bool) {
        let was_connected = self.connected.get() == 1;
        let is_connected = !matches!(link, ConnectionState::Away(_));
        self.connected.set(i64::from(is_connected));
        self.blocked.set(i64::from(matches!(link, ConnectionState::Blocked(_))));
        *was_lost |= was_connected && !is_connected;
        if is_connected && std::mem::take(was_lost) {
            self.reconnects.inc();
        }
        match link {
            ConnectionState::Away(error) if was_connected => tracing::warn!(error, "broker.lost"),
            ConnectionState::Away(error) if error == ConnectionState::CONNECTING => {}
            ConnectionState::Away(error) => tracing::warn!(error, "broker.away"),
            ConnectionState::Blocked(error) => tracing::warn!(error, "broker.blocked"),
            ConnectionState::Ready => tracing::info!("broker.ready"),
        }
    }

    /// At `now`, unix ms.
    fn note_freshness(&self, freshness: SyncStatus, now: u64) {
        if let Some(synced_at) = freshness.synced_at {
            self.confirmed.set(now as f64 / 1_000.0 - synced_at.elapsed().as_secs_f64());
        }
        self.reload_failures.inc_by(freshness.failures.saturating_sub(self.reload_failures.get()));
    }
}

#[cfg(test)]
mod tests;
