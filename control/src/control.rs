//! The role control: what it needs from its process, and the state that its requests and tasks share.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use broker::{Broker, QueueCounts};
use history::{History, Recorder};
use schemas::{
    KeyHash, RetryPolicy,
    time::{day, millis},
};
use service::{Chance, Clock, RetentionClock, chance::Secrets};
use store::{Outbox, Store};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ControlConfig, ControlMetrics, Rate, Rules, backlog, day_counts::DayCounts, dead_letter_quota::DeadLetterCount,
    dead_letters::DeadLetterSearch, edit_queue::EditQueue, endpoint_health::EndpointHealths, endpoint_test,
    erasures::Erasures, event_rates::EventRates, fleet::Fleet, jobs::Jobs, log_index::LogIndex, log_turns,
    operational_events::PublishedEvents, parked::ParkedSearch, recent_searches::RecentSearches, settings::Generator,
    tenant_semaphore::TenantSemaphore,
};

/// Interval at which old entries of the audit log and old usage are deleted. Both are kept for months, so an hour more
/// makes no difference.
const TRIM_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Age of usage that is rolled up, in milliseconds: processes repeat their reports until they are kept, and a day's last
/// ones come soon after midnight.
const ROLL_UP_AGE: u64 = 2 * 24 * 60 * 60 * 1000;

/// Most clients that listen to deliveries at once, for each tenant and for all.
const LISTENERS: (usize, usize) = (4, 64);

pub struct ControlDependencies {
    /// Has the logs of dead letters and parked messages, and takes messages that are published again.
    pub broker: Arc<dyn Broker>,
    /// Has the configuration and the keys that give access to it, and the jobs.
    pub store: Arc<dyn Store>,
    /// Counts the deliveries that replays make.
    pub outbox: Arc<Outbox>,
    /// What happened to events and deliveries; none where that is not kept.
    pub history: Option<Arc<dyn History>>,
    /// Takes what control itself does to deliveries.
    pub recorder: Recorder,
    /// Hash of the operator's key. Without it, no request is authorized as the operator's.
    pub operator: Option<KeyHash>,
    pub clock: Clock,
    /// Random numbers for ids.
    pub chance: Chance,
    /// Random bytes for secrets.
    pub secrets: Secrets,
    pub rules: Rules,
    /// The retry policy of endpoints without their own.
    pub retry: RetryPolicy,
    /// Time that changes stay in the audit log.
    pub audit_age: Duration,
    /// Time that usage stays.
    pub usage_age: Duration,
    /// Cancelled when the process stops. Replays stand still then, and go on with the next start.
    pub stop: CancellationToken,
}

pub struct Control {
    pub(crate) deps: ControlDependencies,
    pub(crate) metrics: ControlMetrics,
    /// Background tasks: the runner of jobs, and publishes of operational events.
    pub(crate) tasks: TaskTracker,
    pub(crate) edit_queue: EditQueue,
    pub(crate) jobs: Jobs,
    pub(crate) erasures: Erasures,
    /// Rate of replays whose request gives none.
    pub(crate) replay_rate: Rate,
    pub(crate) event_rates: EventRates,
    pub(crate) dead_letter_count: Mutex<DeadLetterCount>,
    pub(crate) dead_by_reason: Arc<DayCounts>,
    pub(crate) parked_by_reason: DayCounts,
    /// The processes that announce themselves.
    pub(crate) fleet: Fleet,
    pub(crate) endpoint_health: EndpointHealths,
    /// The broker's latest answer, which several requests share.
    pub(crate) latest_queue_counts: tokio::sync::Mutex<Option<(Option<QueueCounts>, Instant)>>,
    /// Where each tenant's dead letters are in the log.
    pub(crate) dead_letter_index: LogIndex,
    /// Where parked messages are in their log.
    pub(crate) parked_index: LogIndex,
    /// Bounds how many requests search a log at once.
    pub(crate) log_searches: TenantSemaphore,
    /// The turns in which these requests read the log.
    pub(crate) log_turns: Arc<Semaphore>,
    pub(crate) recent_searches: RecentSearches<DeadLetterSearch>,
    pub(crate) recent_parked_searches: RecentSearches<ParkedSearch>,
    /// Bounds how many requests count what waits for an endpoint at once.
    pub(crate) backlog_counts: TenantSemaphore,
    /// Bounds how many tests of endpoints wait at once.
    pub(crate) endpoint_tests: TenantSemaphore,
    /// Bounds how many clients listen to deliveries at once.
    pub(crate) listeners: TenantSemaphore,
    pub(crate) published_events: PublishedEvents,
    /// Notified when a process has begun to listen to notices.
    pub(crate) new_listener: Notify,
    /// False while findings cannot be kept, so that one warning is logged and not one for each.
    pub(crate) are_findings_kept: AtomicBool,
}

impl Control {
    pub fn new(config: &ControlConfig, deps: ControlDependencies, metrics: ControlMetrics) -> Arc<Self> {
        Arc::new(Self {
            deps,
            metrics,
            tasks: TaskTracker::new(),
            edit_queue: EditQueue::default(),
            jobs: Jobs::new(config.max_replays),
            erasures: Erasures::default(),
            replay_rate: config.replays_per_second,
            event_rates: EventRates::default(),
            dead_letter_count: Mutex::default(),
            dead_by_reason: Arc::default(),
            parked_by_reason: DayCounts::default(),
            fleet: Fleet::default(),
            endpoint_health: EndpointHealths::default(),
            latest_queue_counts: tokio::sync::Mutex::default(),
            dead_letter_index: LogIndex::default(),
            parked_index: LogIndex::default(),
            log_searches: TenantSemaphore::new(log_turns::SEARCHES),
            log_turns: Arc::new(Semaphore::new(log_turns::TURNS)),
            recent_searches: RecentSearches::default(),
            recent_parked_searches: RecentSearches::default(),
            backlog_counts: TenantSemaphore::new(backlog::COUNTS),
            endpoint_tests: TenantSemaphore::new(endpoint_test::TESTS),
            listeners: TenantSemaphore::new(LISTENERS),
            published_events: PublishedEvents::default(),
            new_listener: Notify::new(),
            are_findings_kept: AtomicBool::new(true),
        })
    }

    pub(crate) fn generator(&self) -> Generator {
        Generator { chance: self.deps.chance.clone(), secrets: self.deps.secrets.clone() }
    }

    /// Waits until all replays stand still after `stop`. The broker and the store must stay open until then.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Deletes old entries of the audit log, until the future is dropped. Several processes may do so at once.
    pub async fn trim_audit(&self) {
        let Some(audit) = self.deps.store.usage_and_audit() else { return };
        let age = millis(self.deps.audit_age);
        let mut clock = RetentionClock::default();
        loop {
            let now = clock.now((self.deps.clock)(), Instant::now());
            match audit.trim_audit(now.saturating_sub(age)).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(count = entries, "audit.trimmed"),
                // The store itself logs a warning when it is away.
                Err(error) => tracing::debug!(%error, "audit.not_trimmed"),
            }
            tokio::time::sleep(TRIM_INTERVAL).await;
        }
    }

    /// Deletes old usage, and rolls up days that are over for two days, until the future is dropped. Several processes
    /// may do so at once.
    pub async fn trim_usage(&self) {
        let Some(store) = self.deps.store.usage_and_audit() else { return };
        let age = millis(self.deps.usage_age);
        let mut clock = RetentionClock::default();
        loop {
            let now = clock.now((self.deps.clock)(), Instant::now());
            let [oldest, whole] = [age, ROLL_UP_AGE].map(|age| day(now.saturating_sub(age)));
            let done = async {
                Ok::<_, store::StoreError>((store.trim_usage(&oldest).await?, store.roll_up_usage(&whole).await?))
            };
            match done.await {
                Ok((0, 0)) => {}
                Ok((deleted, rolled_up)) => tracing::info!(deleted, rolled_up, "usage.trimmed"),
                // The store itself logs a warning when it is away.
                Err(error) => tracing::debug!(%error, "usage.not_trimmed"),
            }
            tokio::time::sleep(TRIM_INTERVAL).await;
        }
    }
}
