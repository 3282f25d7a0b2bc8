//! What this process hears from the others, and tells them. The leaves do not know each other: here a notice of the
//! broker makes the store look again, and what the roles have counted becomes a notice.

use std::{sync::Arc, time::Duration};

use broker::{Broker, ConnectionState};
use control::Control;
use schemas::Notice;
use service::Clock;
use store::{Outbox, RetentionTable, Store};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::roles::Shared;

/// How often is told what was counted, if anything was.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last words of a process wait for an answer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long after a failed look at the store it is tried again, at first and at most: a database may be away for hours,
/// and its store says so itself.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

service::metrics! {
    /// What every process says of notices.
    pub(crate) struct NoticeMetrics {
        /// Notices of other processes and of this one, by kind.
        heard: IntCounterVec("notices_heard_total", [kind in Notice::KINDS]),
        /// Notices of this process, by kind, those included that were lost.
        told: IntCounterVec("notices_told_total", [kind in Notice::KINDS]),
        /// What could not be counted for tenants' usage, since too much was counted before.
        uncounted: IntGauge("usage_uncounted"),
    }
}

/// The tasks that listen and tell. Dropping it ends them.
pub(super) struct Messenger {
    news: Arc<News>,
    tasks: JoinSet<()>,
}

struct News {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    outbox: Arc<Outbox>,
    retention: Arc<RetentionTable>,
    clock: Clock,
    /// The latest revision of the store that anybody spoke of.
    revision: watch::Sender<u64>,
    /// Something that was told was noted.
    noted: Notify,
    metrics: NoticeMetrics,
}

impl Messenger {
    /// Begins to listen, then to tell.
    pub(super) fn start(shared: &Shared) -> anyhow::Result<Self> {
        let news = Arc::new(News {
            broker: shared.broker.clone(),
            store: shared.store.clone(),
            outbox: shared.outbox.clone(),
            retention: shared.retention.clone(),
            clock: shared.clock.clone(),
            revision: watch::Sender::new(0),
            noted: Notify::new(),
            metrics: NoticeMetrics::register(&shared.registry)?,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(news.clone().listen(news.broker.notices()));
        tasks.spawn(news.clone().follow());
        tasks.spawn(news.clone().tell_revisions());
        tasks.spawn(news.clone().tell_facts());
        Ok(Self { news, tasks })
    }

    /// Lets control, where this process has it, keep what all processes tell. Not by the roles' own tasks: what they
    /// tell last is kept after they have ended.
    pub(super) fn has_control(&mut self, control: Option<&Arc<Control>>) {
        if let Some(control) = control {
            let (keeper, counter, watcher, trimmer) =
                (control.clone(), control.clone(), control.clone(), control.clone());
            self.tasks.spawn(async move { keeper.keep_findings().await });
            self.tasks.spawn(async move { counter.watch_dead_letters().await });
            self.tasks.spawn(async move { watcher.watch_parked().await });
            self.tasks.spawn(async move { trimmer.trim_audit().await });
        }
    }

    /// Tells what is left to tell, and waits a moment until it is noted.
    pub(super) async fn finish(self) {
        let news = &self.news;
        let noted = async {
            while !news.outbox.is_settled() {
                news.noted.notified().await;
            }
        };
        news.tell();
        if *news.broker.connection_state().borrow() == ConnectionState::Ready
            && timeout(LAST_WORDS, noted).await.is_err()
        {
            tracing::info!("facts.not_noted");
        }
    }
}

impl News {
    async fn listen(self: Arc<Self>, mut notices: broker::Notices) {
        while let Some(notice) = notices.next().await {
            let Some(notice) = Notice::read(&notice) else { continue };
            self.metrics.heard.with_label_values(&[notice.kind()]).inc();
            match notice {
                Notice::Revision { revision } => _ = self.heard_of(revision),
                Notice::Noted { process, sequence } => {
                    self.outbox.noted(&process, sequence);
                    self.noted.notify_one();
                }
                Notice::DeadLetterLevels { levels } => self.retention.hear(levels, (self.clock)()),
                // Control's, and the deliverers' own.
                Notice::Findings { .. }
                | Notice::Tested { .. }
                | Notice::Hello
                | Notice::Deliverer { .. }
                | Notice::Intake { .. }
                | Notice::Breakers { .. } => {}
            }
        }
    }

    /// Looks again whenever somebody speaks of a revision that this process does not have. What is missed, the store's
    /// own polling finds.
    async fn follow(self: Arc<Self>) {
        let mut revision = self.revision.subscribe();
        while revision.changed().await.is_ok() {
            let [mut pause, longest] = AGAIN;
            while self.is_behind(*revision.borrow_and_update()) {
                if let Err(error) = self.store.pull().await {
                    tracing::debug!(%error, "store.behind");
                }
                // Also without an error: a database that is a replica may be behind itself.
                if self.is_behind(*revision.borrow()) {
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

    /// Speaks of a revision that nobody spoke of before: this process made it, or found it first. And greets whenever
    /// the broker is there, to be told what was missed.
    async fn tell_revisions(self: Arc<Self>) {
        let (mut revision, mut link) = (self.store.revision(), self.broker.connection_state());
        let mut own = *revision.borrow();
        loop {
            if *link.borrow_and_update() == ConnectionState::Ready {
                self.announce(&Notice::Hello);
                self.tell_revision();
            }
            loop {
                tokio::select! {
                    Ok(()) = link.changed() => break,
                    Ok(()) = revision.changed() => {
                        let before = std::mem::replace(&mut own, *revision.borrow_and_update());
                        if own < before {
                            // The database was put back to an older state: what was spoken of will never come.
                            self.revision.send_replace(own);
                        }
                        if self.heard_of(own) {
                            self.tell_revision();
                        }
                    }
                    else => return,
                }
            }
        }
    }

    fn tell_revision(&self) {
        if let Some(snapshot) = self.store.snapshot().filter(|snapshot| snapshot.has_shared_revisions()) {
            self.announce(&Notice::Revision { revision: snapshot.revision() });
        }
    }

    /// Whether it is the latest.
    fn heard_of(&self, revision: u64) -> bool {
        self.revision.send_if_modified(|latest| {
            let is_later = revision > *latest;
            *latest = revision.max(*latest);
            is_later
        })
    }

    async fn tell_facts(self: Arc<Self>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell();
        }
    }

    fn tell(&self) {
        for notice in self.outbox.report((self.clock)()) {
            self.announce(&notice);
        }
        self.metrics.uncounted.set(i64::try_from(self.outbox.missed()).unwrap_or(i64::MAX));
    }

    fn announce(&self, notice: &Notice) {
        self.metrics.told.with_label_values(&[notice.kind()]).inc();
        self.broker.announce(notice.write().into());
    }
}

#[cfg(test)]
mod tests;
