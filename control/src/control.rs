//! The role: what it needs from its process, and what all of its requests and tasks share.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use broker::Broker;
use schemas::KeyHash;
use service::{Chance, Clock, chance::Secrets};
use store::{Outbox, Store};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ControlConfig, ControlMetrics, Rate, Rules, endpoint_test,
    operational_events::PublishedEvents,
    replays::{self, ReplayJobs},
    settings::Generator,
    tenant_semaphore::TenantSemaphore,
};

/// How often old entries of the audit log are deleted. Entries are kept for months, so an hour more makes no difference.
const AUDIT_TRIM_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What control needs from the process that runs it.
pub struct ControlDependencies {
    /// The broker has the logs of dead letters and of what is parked, and takes what is published again.
    pub broker: Arc<dyn Broker>,
    /// The store has the configuration, and keys that give access to it.
    pub store: Arc<dyn Store>,
    /// Counts the deliveries that replays make.
    pub outbox: Arc<Outbox>,
    /// Hash of the operator's key. Without it no request is the operator's.
    pub operator: Option<KeyHash>,
    /// The time, in unix milliseconds.
    pub clock: Clock,
    /// Random numbers for ids.
    pub chance: Chance,
    /// Random bytes for secrets.
    pub secrets: Secrets,
    /// What the operator lets tenants configure.
    pub rules: Rules,
    /// How long changes stay in the audit log.
    pub audit_age: Duration,
    /// Cancelled when the process stops. Replays then end.
    pub stop: CancellationToken,
}

/// The role control.
pub struct Control {
    pub(crate) deps: ControlDependencies,
    pub(crate) metrics: ControlMetrics,
    /// Replays, and publishes of operational events, that run in the background.
    pub(crate) tasks: TaskTracker,
    pub(crate) replays: ReplayJobs,
    /// Rate of replays whose request gives none.
    pub(crate) replay_rate: Rate,
    /// Bounds how many requests read the whole log of dead letters at once.
    pub(crate) log_scans: TenantSemaphore,
    /// Bounds how many tests of endpoints wait at once.
    pub(crate) endpoint_tests: TenantSemaphore,
    pub(crate) published_events: PublishedEvents,
    /// Notified when a process has begun to listen to notices.
    pub(crate) new_listener: Notify,
    /// False while findings cannot be kept, so that one warning is logged and not one for each.
    pub(crate) are_findings_kept: AtomicBool,
}

impl Control {
    /// A control without replays.
    pub fn new(config: &ControlConfig, deps: ControlDependencies, metrics: ControlMetrics) -> Arc<Self> {
        Arc::new(Self {
            deps,
            metrics,
            tasks: TaskTracker::new(),
            replays: ReplayJobs::new(config.max_replays),
            replay_rate: config.replays_per_second,
            log_scans: TenantSemaphore::new(replays::LOG_SCANS),
            endpoint_tests: TenantSemaphore::new(endpoint_test::TESTS),
            published_events: PublishedEvents::default(),
            new_listener: Notify::new(),
            are_findings_kept: AtomicBool::new(true),
        })
    }

    /// Generates the ids and secrets that requests leave out.
    pub(crate) fn generator(&self) -> Generator {
        Generator { chance: self.deps.chance.clone(), secrets: self.deps.secrets.clone() }
    }

    /// Returns once all replays have ended, which they do after `stop`. The broker must not be closed before.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Deletes old entries of the audit log, until the future is dropped. Several processes may do so at once.
    pub async fn trim_audit(&self) {
        let Some(audit) = self.deps.store.usage_and_audit() else { return };
        let age = u64::try_from(self.deps.audit_age.as_millis()).unwrap_or(u64::MAX);
        loop {
            match audit.trim_audit((self.deps.clock)().saturating_sub(age)).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(count = entries, "audit.trimmed"),
                // The store itself logs a warning when it is away.
                Err(error) => tracing::debug!(%error, "audit.not_trimmed"),
            }
            tokio::time::sleep(AUDIT_TRIM_INTERVAL).await;
        }
    }
}
