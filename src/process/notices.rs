//! The exchange of notices between processes. A newer revision makes the store pull, and the roles' counts and findings
//! are sent to control: broker, store and roles do not depend on one another.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{Broker, ConnectionState, rabbitmq::RabbitMq};
use control::Control;
use schemas::Notice;
use service::Clock;
use store::{EventShares, Outbox, RetentionTable, Store};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    delivery_form::DeliveryForm,
    intake::{Intake, PROBE_INTERVAL},
    presence::Presence,
    roles::SharedDependencies,
};

/// Interval between two reports of findings, for which someone waits: an endpoint that answered 410, a quota.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between two reports of counts, which are as many as endpoints in use.
const USAGE_INTERVAL: Duration = Duration::from_secs(15);
/// Interval between two reports of how this process is.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(5);
/// Interval between two looks at what deliverers read.
const FORM_INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait, at the end of a process, until control has noted its last report.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// First and longest pause after a pull without a newer revision. A database may be unreachable for hours, which its
/// store logs.
const PULL_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

service::metrics! {
    /// The metrics of notices, which every process has.
    pub(crate) struct NoticeMetrics {
        /// Notices of other processes and of this one that were received, by kind.
        received: IntCounterVec("notices_received_total", [kind in Notice::KINDS]),
        /// Notices of this process that were sent, by kind, those included that were lost.
        sent: IntCounterVec("notices_sent_total", [kind in Notice::KINDS]),
        /// Numbers of tenants' usage that could not be counted, since too many others wait for being recorded.
        uncounted: IntGauge("usage_uncounted"),
    }
}

/// The tasks that receive and send notices. Dropping it ends them.
pub(super) struct NoticeTasks {
    exchange: Arc<NoticeExchange>,
    tasks: JoinSet<()>,
}

struct NoticeExchange {
    broker: Arc<dyn Broker>,
    intake: Arc<Intake>,
    store: Arc<dyn Store>,
    outbox: Arc<Outbox>,
    retention: Arc<RetentionTable>,
    parked_retention: Arc<RetentionTable>,
    event_shares: Arc<EventShares>,
    clock: Clock,
    presence: Presence,
    delivery_form: Mutex<DeliveryForm>,
    /// The newest revision of the store that any process has announced.
    announced: watch::Sender<u64>,
    /// Notified when a process has begun to listen, which may be control.
    new_listener: Notify,
    /// Notified then, too, for the report of how this process is.
    presence_asked: Notify,
    /// Notified whenever control has noted a report of this process.
    noted: Notify,
    metrics: NoticeMetrics,
}

impl NoticeTasks {
    /// Starts the tasks: the receiver first, then the senders.
    pub(super) fn start(shared: &SharedDependencies, intake: Arc<Intake>, presence: Presence) -> anyhow::Result<Self> {
        let exchange = Arc::new(NoticeExchange {
            broker: shared.broker.clone(),
            intake,
            store: shared.store.clone(),
            outbox: shared.outbox.clone(),
            retention: shared.retention.clone(),
            parked_retention: shared.parked_retention.clone(),
            event_shares: shared.event_shares.clone(),
            clock: shared.clock.clone(),
            presence,
            delivery_form: Mutex::new(DeliveryForm::new(Instant::now())),
            announced: watch::Sender::new(0),
            new_listener: Notify::new(),
            presence_asked: Notify::new(),
            noted: Notify::new(),
            metrics: NoticeMetrics::register(&shared.registry)?,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(exchange.clone().receive(exchange.broker.notices()));
        tasks.spawn(exchange.clone().pull_announced());
        tasks.spawn(exchange.clone().announce_revisions());
        tasks.spawn(exchange.clone().report_regularly());
        tasks.spawn(exchange.clone().report_presence());
        Ok(Self { exchange, tasks })
    }

    /// Runs control's background tasks, if this process has that role. Except for jobs they outlive the roles, so that the
    /// roles' last reports are recorded.
    pub(super) fn add_control(&mut self, control: Option<&Arc<Control>>) {
        if let Some(control) = control {
            control.start_jobs();
            let [recorder, observer, counter, watcher, trimmer, summer, eraser] = [(); 7].map(|()| control.clone());
            self.tasks.spawn(async move { recorder.keep_findings().await });
            self.tasks.spawn(async move { observer.watch_fleet().await });
            self.tasks.spawn(async move { counter.watch_dead_letters().await });
            self.tasks.spawn(async move { watcher.watch_parked().await });
            self.tasks.spawn(async move { trimmer.trim_audit().await });
            self.tasks.spawn(async move { summer.trim_usage().await });
            self.tasks.spawn(async move { eraser.run_erasures().await });
        }
    }

    /// Probes every now and then whether events come from the public exchange into the intake, and tells all processes.
    pub(super) fn add_intake_probes(&mut self, rabbitmq: Arc<RabbitMq>) {
        let exchange = self.exchange.clone();
        self.tasks.spawn(async move {
            let mut connection = exchange.broker.connection_state();
            while connection.wait_for(|state| *state == ConnectionState::Ready).await.is_ok() {
                if let Some(bound) = rabbitmq.intake_is_bound().await {
                    exchange.send(&Notice::IntakeProbed { bound });
                }
                sleep(PROBE_INTERVAL).await;
            }
        });
    }

    /// Has deliveries packed for as long as every deliverer reads them.
    pub(super) fn add_delivery_form(&mut self, rabbitmq: Arc<RabbitMq>) {
        let exchange = self.exchange.clone();
        self.tasks.spawn(async move {
            let mut ticks = interval(FORM_INTERVAL);
            loop {
                ticks.tick().await;
                rabbitmq.pack_deliveries(exchange.delivery_form().is_packed(Instant::now()));
            }
        });
    }

    /// Sends the last report, and waits a moment until control has noted it.
    pub(super) async fn finish(self) {
        let exchange = &self.exchange;
        let noted = async {
            while !exchange.outbox.is_settled() {
                exchange.noted.notified().await;
            }
        };
        exchange.report();
        exchange.send(&Notice::Process(Box::new(exchange.presence.report(true))));
        if *exchange.broker.connection_state().borrow() == ConnectionState::Ready
            && timeout(LAST_REPORT_TIMEOUT, noted).await.is_err()
        {
            tracing::info!("findings.not_noted");
        }
    }
}

impl NoticeExchange {
    async fn receive(self: Arc<Self>, mut notices: broker::Notices) {
        while let Some(notice) = notices.next().await {
            let Some(notice) = Notice::read(&notice) else { continue };
            self.metrics.received.with_label_values(&[notice.kind()]).inc();
            match notice {
                Notice::Revision { revision } => _ = self.is_newly_announced(revision),
                Notice::Noted { process, sequence } => {
                    self.outbox.noted(&process, sequence);
                    self.noted.notify_one();
                }
                Notice::DeadLetterRetention(levels) => self.retention.hear(levels, (self.clock)()),
                Notice::ParkedRetention(levels) => self.parked_retention.hear(levels, (self.clock)()),
                Notice::EventShares { process, by_tenant } => {
                    self.event_shares.hear(process, by_tenant, (self.clock)());
                }
                Notice::Hello => {
                    self.new_listener.notify_one();
                    self.presence_asked.notify_one();
                }
                // Deliverers receive this notice themselves, too.
                Notice::Intake { open } => self.intake.note_command(open, Instant::now()),
                Notice::IntakeProbed { bound } => self.intake.note_probe(bound, Instant::now()),
                Notice::Deliverer { process, leaves, reads_packed, .. } => {
                    self.delivery_form().note(&process, leaves, reads_packed, Instant::now());
                }
                // Control and deliverers receive these notices themselves.
                Notice::Findings { .. }
                | Notice::Tested { .. }
                | Notice::Process(_)
                | Notice::Endpoints { .. }
                | Notice::Breakers { .. }
                | Notice::Erased { .. } => {}
            }
        }
    }

    /// Pulls whenever a newer revision than this process' own is announced. A lost notice only delays the pull, because
    /// the store also polls.
    async fn pull_announced(self: Arc<Self>) {
        let mut announced = self.announced.subscribe();
        while announced.changed().await.is_ok() {
            let [mut pause, longest] = PULL_PAUSES;
            while self.is_behind(*announced.borrow_and_update()) {
                if let Err(error) = self.store.pull().await {
                    tracing::debug!(%error, "store.behind");
                }
                // A pull may succeed without a newer revision: the database may be a replica with a delay.
                if self.is_behind(*announced.borrow()) {
                    sleep(pause).await;
                    pause = longest.min(2 * pause);
                }
            }
        }
    }

    fn is_behind(&self, revision: u64) -> bool {
        let snapshot = self.store.snapshot();
        snapshot.is_some_and(|snapshot| snapshot.has_shared_revisions() && snapshot.revision() < revision)
    }

    /// Announces each revision that this process has made or found first. On every connection to the broker, it also
    /// sends a greeting, and other processes answer with everything this process has missed.
    async fn announce_revisions(self: Arc<Self>) {
        let (mut revision, mut connection) = (self.store.revision(), self.broker.connection_state());
        let mut own = *revision.borrow();
        loop {
            if *connection.borrow_and_update() == ConnectionState::Ready {
                self.delivery_form().missed(Instant::now());
                self.send(&Notice::Hello);
                self.announce_revision();
            }
            loop {
                tokio::select! {
                    Ok(()) = connection.changed() => break,
                    Ok(()) = revision.changed() => {
                        let before = std::mem::replace(&mut own, *revision.borrow_and_update());
                        if own < before {
                            // The database was restored to an older state, so it will not reach the announced revision.
                            self.announced.send_replace(own);
                        }
                        if self.is_newly_announced(own) {
                            self.announce_revision();
                        }
                    }
                    else => return,
                }
            }
        }
    }

    fn delivery_form(&self) -> MutexGuard<'_, DeliveryForm> {
        self.delivery_form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce_revision(&self) {
        if let Some(snapshot) = self.store.snapshot().filter(|snapshot| snapshot.has_shared_revisions()) {
            self.send(&Notice::Revision { revision: snapshot.revision() });
        }
    }

    /// True if no process has announced this revision or a newer one before.
    fn is_newly_announced(&self, revision: u64) -> bool {
        self.announced.send_if_modified(|newest| {
            let is_newer = revision > *newest;
            *newest = revision.max(*newest);
            is_newer
        })
    }

    async fn report_regularly(self: Arc<Self>) {
        let [mut findings, mut usage] = [REPORT_INTERVAL, USAGE_INTERVAL].map(interval);
        findings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        usage.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = usage.tick() => self.report(),
                () = self.new_listener.notified() => self.report(),
                _ = findings.tick() => self.send_all(&self.outbox.report_findings((self.clock)())),
            }
        }
    }

    async fn report_presence(self: Arc<Self>) {
        let mut ticks = interval(PRESENCE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.presence_asked.notified() => {}
            }
            self.send(&Notice::Process(Box::new(self.presence.report(false))));
        }
    }

    /// Sends the counts and findings, including those that control has not noted yet.
    fn report(&self) {
        self.send_all(&self.outbox.report((self.clock)()));
        self.metrics.uncounted.set(i64::try_from(self.outbox.missed()).unwrap_or(i64::MAX));
    }

    fn send_all(&self, notices: &[Notice]) {
        for notice in notices {
            self.send(notice);
        }
    }

    fn send(&self, notice: &Notice) {
        self.metrics.sent.with_label_values(&[notice.kind()]).inc();
        self.broker.announce(notice.write().into());
    }
}

#[cfg(test)]
mod tests;
