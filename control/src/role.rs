//! The role: starts replays as tasks of this process, and remembers them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{Broker, ReadError};
use schemas::{EventId, KeyHash};
use service::{
    Chance, Clock,
    chance::{self, Secrets},
};
use store::{Outbox, Store};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ControlConfig, ControlMetrics, Ended, Filter, Job, JobState, Live, Rate, Replay, ReplayProgress, Rules,
    dead_letters,
    jobs::{Jobs, TooMany},
    seats::{Seat, Seats},
    settings::Maker,
    tell::Told,
    trial,
};

/// What control needs from the process that runs it.
pub struct ControlDependencies {
    /// Where the logs are.
    pub broker: Arc<dyn Broker>,
    /// Who may look and change.
    pub store: Arc<dyn Store>,
    /// What replays make is counted here.
    pub outbox: Arc<Outbox>,
    /// The operator's key, hashed; without it nobody is the operator.
    pub operator: Option<KeyHash>,
    /// The time.
    pub clock: Clock,
    /// For ids.
    pub chance: Chance,
    /// For secrets.
    pub secrets: Secrets,
    /// What endpoints and subscriptions may be.
    pub rules: Rules,
    /// How long changes stay in the audit log.
    pub audit_age: Duration,
    /// Replays stop once this is cancelled.
    pub stop: CancellationToken,
}

/// Controls.
pub struct Control {
    pub(crate) deps: ControlDependencies,
    pub(crate) jobs: Jobs,
    pub(crate) tasks: TaskTracker,
    pub(crate) metrics: ControlMetrics,
    /// What tenants were told already.
    pub(crate) told: Told,
    /// Tests of endpoints that are under way.
    pub(crate) trials: Seats,
    /// Looks through the whole log of dead letters that are under way.
    looks: Seats,
    /// Somebody has begun to listen to notices.
    pub(crate) newcomers: Notify,
    /// What processes told last could be kept: that it could not is said once.
    pub(crate) are_facts_kept: AtomicBool,
    rate: Rate,
}

/// Looks through the dead letters of one tenant under way in this process, and of all tenants: the log is one, so that
/// each reads all tenants' from its beginning.
const LOOKS: (usize, usize) = (1, 4);

/// Why a replay, or a look through the dead letters, was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The dead letters could not be read.
    #[error(transparent)]
    Unread(#[from] ReadError),
    /// As many run already as may.
    #[error("too many replays run")]
    TooMany,
    /// Somebody looks through the dead letters of the tenant, or enough others do.
    #[error("the dead letters are being looked through already")]
    Busy,
}

impl Control {
    /// One that has no replays yet.
    pub fn new(config: &ControlConfig, deps: ControlDependencies, metrics: ControlMetrics) -> Arc<Self> {
        let (jobs, rate) = (Jobs::new(config.max_replays), config.replays_per_second);
        let (told, newcomers, tasks) = (Told::default(), Notify::new(), TaskTracker::new());
        let (trials, looks) = (Seats::new(trial::MOST), Seats::new(LOOKS));
        let are_facts_kept = AtomicBool::new(true);
        Arc::new(Self { deps, jobs, tasks, metrics, told, trials, looks, newcomers, are_facts_kept, rate })
    }

    /// Makes what requests leave out.
    pub(crate) fn maker(&self) -> Maker {
        Maker { chance: self.deps.chance.clone(), secrets: self.deps.secrets.clone() }
    }

    /// How many of a tenant's dead letters a replay would take.
    ///
    /// # Errors
    /// When they cannot be read, or are being looked through already.
    pub async fn count(&self, tenant: &str, filter: &Filter) -> Result<u64, NotStarted> {
        let (live, _) = self.look(tenant, filter).await?;
        Ok(live.len() as u64)
    }

    /// Finds a tenant's dead letters. Nobody else can until the seat is dropped.
    pub(crate) async fn look(&self, tenant: &str, filter: &Filter) -> Result<(Live, Seat), NotStarted> {
        let seat = self.looks.take(tenant).ok_or(NotStarted::Busy)?;
        Ok((dead_letters::find(&*self.deps.broker, Some(tenant), filter).await?, seat))
    }

    /// Finds a tenant's dead letters, then replays them in a task of its own. What dies later is not among them.
    ///
    /// # Errors
    /// When they cannot be read, or are being looked through already, or too many replays run.
    pub async fn start_replay(
        self: &Arc<Self>,
        tenant: &str,
        filter: Filter,
        rate: Option<Rate>,
    ) -> Result<Arc<Job>, NotStarted> {
        let (live, _) = self.look(tenant, &filter).await?;
        let id = EventId::fresh((self.deps.clock)(), chance::bytes(&self.deps.chance)).to_string();
        let job = self.jobs.add(Job::new(id, tenant.to_owned(), filter, live.len() as u64));
        let job = job.map_err(|TooMany| NotStarted::TooMany)?;
        self.tasks.spawn(self.clone().replay(job.clone(), live, rate.unwrap_or(self.rate)));
        Ok(job)
    }

    /// Returns once all replays have ended, which they do after `stop`; before the broker is closed.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn replay(self: Arc<Self>, job: Arc<Job>, live: Live, rate: Rate) {
        self.metrics.replays_running.inc();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (broker, clock) = (&*self.deps.broker, &self.deps.clock);
        let (outbox, metrics) = (Some(&*self.deps.outbox), Some(&self.metrics));
        let replay = Replay { broker, job: &job.id, rate: Some(rate), clock, outbox, metrics, stop: stopped };
        let progress = |ReplayProgress { replayed, skipped }: ReplayProgress| {
            job.replayed.store(replayed, Ordering::Relaxed);
            job.skipped.store(skipped, Ordering::Relaxed);
        };
        let watch_for_the_end = async {
            tokio::select! {
                () = job.ended() => {}
                () = self.deps.stop.cancelled() => {}
            }
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let end = tokio::select! {
            end = replay.run(live, progress) => end,
            never = watch_for_the_end => match never {},
        };
        self.metrics.replays_running.dec();
        job.end(match end {
            Ended::Done => JobState::Done,
            Ended::Stopped => JobState::Stopped,
        });
        let (state, replayed) = (job.state().as_str(), job.replayed.load(Ordering::Relaxed));
        let (tenant, matched, skipped) = (&job.tenant, job.matched, job.skipped.load(Ordering::Relaxed));
        tracing::info!(replay_id = job.id, tenant, state, matched, replayed, skipped, "replay.ended");
    }
}
