//! Probes and metrics of the process' readiness: the state of its broker, of the intake and of its snapshot.

use std::{sync::Arc, time::Duration};

use broker::ConnectionState;
use service::{ClockWatch, ops::Ops};
use store::SyncStatus;
use tokio::time::{Instant, interval};

use super::{intake::Intake, roles::SharedDependencies};

service::metrics! {
    /// Metrics of every process about its broker and its snapshot.
    pub(crate) struct ReadinessMetrics {
        /// 1 while messages can be consumed.
        connected: IntGauge("broker_connected"),
        /// 1 while the broker takes no publishes.
        blocked: IntGauge("broker_blocked"),
        /// 1 while no event comes in, as far as this process knows: the intake is not bound, or `topology drain` has closed it.
        intake_closed: IntGauge("intake_closed"),
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

/// Polling interval for the age of the store's snapshot, for the intake, and for steps of the clock.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn watch(ops: &Ops, shared: &SharedDependencies, intake: Arc<Intake>) -> anyhow::Result<()> {
    let (connection, store) = (shared.broker.connection_state(), shared.store.clone());
    ops.ready("broker", move || match &*connection.borrow() {
        ConnectionState::Ready => Ok(()),
        ConnectionState::Away(why) => Err(why.clone()),
        ConnectionState::Blocked(why) => Err(format!("blocked: {why}")),
    });
    ops.ready("store", move || match store.snapshot() {
        Some(_) => Ok(()),
        None => Err("there is no snapshot yet".to_owned()),
    });
    tokio::spawn(keep_current(ReadinessMetrics::register(&shared.registry)?, shared, intake));
    Ok(())
}

/// Updates the metrics until the shutdown begins, after which the process itself closes the broker.
fn keep_current(
    metrics: ReadinessMetrics,
    shared: &SharedDependencies,
    intake: Arc<Intake>,
) -> impl Future<Output = ()> + use<> {
    let (mut connection, mut revision) = (shared.broker.connection_state(), shared.store.revision());
    let (store, clock, shutdown) = (shared.store.clone(), shared.clock.clone(), shared.shutdown.clone());
    async move {
        let (mut ticks, mut was_lost, mut logged) = (interval(STORE_INTERVAL), false, LoggedStates::default());
        let mut clock_watch = ClockWatch::default();
        loop {
            let now = connection.borrow_and_update().clone();
            if logged.is_new(&now) {
                metrics.note(&now, &mut was_lost);
            }
            loop {
                let known = store.snapshot().map_or(0, |snapshot| snapshot.shared_revision());
                metrics.revision.set(i64::try_from(known).unwrap_or(i64::MAX));
                let wall = clock();
                metrics.note_freshness(store.sync_status(), wall);
                metrics.intake_closed.set(i64::from(intake.is_closed()));
                if let Some(step) = clock_watch.look(wall, Instant::now()) {
                    let direction = if step.is_forward { "forward" } else { "back" };
                    tracing::warn!(direction, step_ms = step.by_ms, "clock.stepped");
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    Ok(()) = connection.changed() => break,
                    Ok(()) = revision.changed() => {}
                    _ = ticks.tick() => {}
                }
            }
        }
    }
}

/// Largest number of different reasons that are logged for one outage.
const MAX_REASONS: usize = 16;

/// The states that were logged since the broker was last ready. Each failed attempt has the same reason, or, with
/// several hosts, one of their reasons; each reason is logged once.
#[derive(Default)]
struct LoggedStates(Vec<ConnectionState>);

impl LoggedStates {
    fn is_new(&mut self, state: &ConnectionState) -> bool {
        let is_away = |state: &ConnectionState| matches!(state, ConnectionState::Away(_));
        if self.0.contains(state) || is_away(state) && self.0.len() > MAX_REASONS {
            return false;
        }
        self.0.retain(|logged| is_away(state) && is_away(logged));
        self.0.push(state.clone());
        true
    }
}

impl ReadinessMetrics {
    fn note(&self, state: &ConnectionState, was_lost: &mut bool) {
        let was_connected = self.connected.get() == 1;
        let is_connected = !matches!(state, ConnectionState::Away(_));
        self.connected.set(i64::from(is_connected));
        self.blocked.set(i64::from(matches!(state, ConnectionState::Blocked(_))));
        *was_lost |= was_connected && !is_connected;
        if is_connected && std::mem::take(was_lost) {
            self.reconnects.inc();
        }
        match state {
            ConnectionState::Away(error) if was_connected => tracing::warn!(error, "broker.lost"),
            ConnectionState::Away(error) if error == ConnectionState::CONNECTING => {}
            ConnectionState::Away(error) => tracing::warn!(error, "broker.away"),
            ConnectionState::Blocked(error) => tracing::warn!(error, "broker.blocked"),
            ConnectionState::Ready => tracing::info!("broker.ready"),
        }
    }

    /// Updates the metrics of the snapshot's age. `now` is in unix milliseconds.
    fn note_freshness(&self, freshness: SyncStatus, now: u64) {
        if let Some(synced_at) = freshness.synced_at {
            self.confirmed.set(now as f64 / 1_000.0 - synced_at.elapsed().as_secs_f64());
        }
        self.reload_failures.inc_by(freshness.failures.saturating_sub(self.reload_failures.get()));
    }
}

#[cfg(test)]
mod tests;
