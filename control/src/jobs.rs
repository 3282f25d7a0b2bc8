//! Jobs: work that goes on until it is done, also after a restart. Their rows are in the store, and one control at a time
//! runs them, which a lease says. A control that loses its lease stops in time, and another one goes on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use schemas::time::millis;
use store::{ControlState, Job, JobProgress, JobState, StoreError};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Control, ReplayEnd, ReplayProgress, ReplaySpec, replay_tracker::ReplayPosition, replays::REPLAY};

/// Name of the lease on running jobs.
const LEASE: &str = "jobs";
/// Time after which the lease of a control that has died runs out. A process that is started anew waits for it.
const LEASE_TIME: Duration = Duration::from_secs(10);
/// Time after which a lease is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// Time for which a control relies on a lease. The rest is for stopping what is under way.
const RELY_ON_LEASE: Duration = Duration::from_secs(7);
/// Interval at which progress is stored, and new and stopped jobs of other processes are found.
const TICK: Duration = Duration::from_secs(1);
/// Longest time for storing the last progress when the process stops.
const LAST_PROGRESS: Duration = Duration::from_secs(2);
/// Time for which ended jobs are kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most ended jobs of a tenant that are kept. Each has a filter of up to a thousand ids.
pub(crate) const MOST_ENDED: u32 = 200;
/// Interval at which others are deleted, while there are jobs.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// The jobs of this process, and the bound for those of all.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Most replays that run at once.
    pub(crate) most: u32,
    /// By id. The lock is never held across an await.
    running: Mutex<HashMap<String, Arc<RunningJob>>>,
    /// Notified when there is something to do before the next tick.
    pub(crate) wake: Notify,
}

/// A job that this process runs.
#[derive(Debug)]
pub(crate) struct RunningJob {
    /// Its row when it began here.
    pub(crate) job: Job,
    pub(crate) spec: ReplaySpec,
    /// Cancelled when somebody stops the job, the process stops, or another control may run it.
    pub(crate) stop: CancellationToken,
    progress: Mutex<ReplayProgress>,
    stored: Mutex<Option<ReplayProgress>>,
    end: OnceLock<ReplayEnd>,
}

impl Jobs {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: u32::try_from(most).unwrap_or(u32::MAX), running: Mutex::default(), wake: Notify::new() }
    }

    /// How far the jobs are that this process runs, by id: newer than what is stored.
    pub(crate) fn progress(&self) -> HashMap<String, ReplayProgress> {
        self.lock().iter().map(|(id, run)| (id.clone(), run.progress())).collect()
    }

    /// Stops a job that this process runs.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(run) = self.lock().get(id) {
            run.stop.cancel();
        }
    }

    fn all(&self) -> Vec<Arc<RunningJob>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<RunningJob>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningJob {
    fn new(job: Job, spec: ReplaySpec) -> Self {
        let (replayed, skipped, position) = (job.done, job.skipped, ReplayPosition::read(&job.position));
        let progress = ReplayProgress { replayed, skipped, position };
        let (progress, stored) = (Mutex::new(progress.clone()), Mutex::new(Some(progress)));
        Self { job, spec, stop: CancellationToken::new(), progress, stored, end: OnceLock::new() }
    }

    pub(crate) fn progress(&self) -> ReplayProgress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, progress: ReplayProgress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// The progress, unless that is stored already.
    fn unstored(&self) -> Option<ReplayProgress> {
        let progress = self.progress();
        let is_stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&progress);
        (!is_stored).then_some(progress)
    }

    pub(crate) fn note_stored(&self, progress: ReplayProgress) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }
}

impl Control {
    /// Jobs and leases in the store.
    pub(crate) fn control_state(&self) -> Result<&dyn ControlState, StoreError> {
        let state = self.deps.store.control_state();
        state.ok_or_else(|| StoreError("this process has no place for jobs".to_owned()))
    }

    /// Runs jobs until the process stops; [`Control::drain`] waits until they stand still. They go on with the next start,
    /// or in another process.
    pub fn start_jobs(self: &Arc<Self>) {
        let control = self.clone();
        self.tasks.spawn(async move {
            if let Some(state) = control.deps.store.control_state() {
                JobRunner::new(&control, state).run().await;
            }
        });
    }

    /// Ends a job in the store, unless it has ended. The process that runs it stops soon.
    pub(crate) async fn end_job(&self, job: &Job, end: JobState) -> Result<(), StoreError> {
        let here = self.jobs.progress().remove(&job.id);
        let (replayed, skipped) = here.map_or((job.done, job.skipped), |here| (here.replayed, here.skipped));
        if self.control_state()?.end_job(&job.id, end, (self.deps.clock)()).await? {
            let (tenant, state, matched) = (&job.tenant, end.as_str(), job.matched);
            tracing::info!(replay_id = job.id, tenant, state, matched, replayed, skipped, "replay.ended");
        }
        if end == JobState::Stopped {
            self.jobs.stop(&job.id);
        }
        Ok(())
    }

    /// True when the tenant of a job was deleted, or made anew, as far as this process knows.
    pub(crate) fn has_lost_tenant(&self, job: &Job) -> bool {
        let snapshot = self.deps.store.snapshot();
        let tenant = snapshot.as_ref().map(|snapshot| snapshot.tenant(&job.tenant));
        tenant.is_some_and(|tenant| tenant.is_none_or(|tenant| tenant.created() != job.tenant_created))
    }
}

/// Runs the jobs of the store while this process has the lease.
struct JobRunner<'a> {
    control: &'a Arc<Control>,
    state: &'a dyn ControlState,
    /// When the lease was renewed. None while another control may have it.
    renewed_at: Option<Instant>,
    tasks: JoinSet<()>,
    /// True while the store fails, so that one warning is logged and not one a second.
    has_failed: bool,
    trimmed_at: Instant,
}

impl<'a> JobRunner<'a> {
    fn new(control: &'a Arc<Control>, state: &'a dyn ControlState) -> Self {
        let (tasks, trimmed_at) = (JoinSet::new(), Instant::now());
        Self { control, state, renewed_at: None, tasks, has_failed: false, trimmed_at }
    }

    async fn run(mut self) {
        let (jobs, stop) = (&self.control.jobs, &self.control.deps.stop);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = jobs.wake.notified() => {}
                _ = ticks.tick() => {}
            }
            let until = self.renewed_at.unwrap_or_else(Instant::now) + RELY_ON_LEASE;
            let Some(round) = stop.run_until_cancelled(timeout_at(until, self.round())).await else { break };
            self.note_failure(round.unwrap_or_else(|_| Err(StoreError("it did not answer in time".to_owned()))));
            if self.renewed_at.is_some_and(|at| at.elapsed() >= RELY_ON_LEASE) {
                self.lose_lease().await;
            }
        }
        self.stand_still().await;
        let last = async {
            self.store_progress().await?;
            self.release_lease().await
        };
        let stored = timeout(LAST_PROGRESS, last).await;
        self.note_failure(stored.unwrap_or_else(|_| Err(StoreError("it did not answer in time".to_owned()))));
    }

    /// Stores progress, stops jobs that were ended elsewhere, and begins those that run nowhere.
    async fn round(&mut self) -> Result<(), StoreError> {
        while self.tasks.try_join_next().is_some() {}
        let jobs = &self.control.jobs;
        if !jobs.all().is_empty() {
            if !self.hold_lease().await? {
                self.lose_lease().await;
                return Ok(());
            }
            self.store_progress().await?;
        }
        let mut rows = self.state.running_jobs().await?;
        rows.retain(|job| job.kind == REPLAY);
        for run in jobs.all().iter().filter(|run| !rows.iter().any(|job| job.id == run.job.id)) {
            run.stop.cancel();
        }
        if rows.is_empty() && jobs.all().is_empty() {
            return self.release_lease().await;
        }
        if !self.hold_lease().await? {
            return Ok(());
        }
        for job in rows {
            self.begin(job).await?;
        }
        self.trim().await
    }

    /// Begins a job that does not run here, if there is room. Ends one whose tenant was deleted.
    async fn begin(&mut self, job: Job) -> Result<(), StoreError> {
        let control = self.control;
        if control.has_lost_tenant(&job) {
            // This process may not have read yet that the tenant was made.
            if control.deps.store.pull().await.is_ok() && control.has_lost_tenant(&job) {
                control.end_job(&job, JobState::Stopped).await?;
            }
            return Ok(());
        }
        let running = control.jobs.all();
        let is_here = running.iter().any(|run| run.job.id == job.id);
        if is_here || running.len() >= control.jobs.most as usize || control.deps.store.snapshot().is_none() {
            return Ok(());
        }
        let spec = match ReplaySpec::read(&job.spec) {
            Ok(spec) => spec,
            Err(error) => {
                tracing::warn!(%error, replay_id = job.id, "replay.unreadable");
                return control.end_job(&job, JobState::Stopped).await;
            }
        };
        if matches!(spec, ReplaySpec::History(_)) && control.deps.history.is_none() {
            // History was switched off since: nothing is left to send, and what was not sent is not done.
            return control.end_job(&job, JobState::Stopped).await;
        }
        if !job.position.is_empty() {
            let Job { id, tenant, matched, done, skipped, .. } = &job;
            tracing::info!(replay_id = id, tenant, matched, replayed = done, skipped, "replay.resumed");
        }
        let run = Arc::new(RunningJob::new(job, spec));
        control.jobs.lock().insert(run.job.id.clone(), run.clone());
        let control = control.clone();
        self.tasks.spawn(async move {
            let end = control.replay(&run).await;
            let _ = run.end.set(end);
            control.jobs.wake.notify_one();
        });
        Ok(())
    }

    /// Stores how far all jobs are. Ends those that are done, and forgets all whose tasks have ended.
    async fn store_progress(&self) -> Result<(), StoreError> {
        let jobs = self.control.jobs.all();
        // What has ended by now makes no more progress.
        let ended: Vec<_> = jobs.iter().filter_map(|run| Some((run, *run.end.get()?))).collect();
        let unstored: Vec<_> = jobs.iter().filter_map(|run| Some((run, run.unstored()?))).collect();
        if !unstored.is_empty() {
            let progress = unstored.iter().map(|(run, progress)| JobProgress {
                id: run.job.id.clone(),
                position: progress.position.text(),
                done: progress.replayed,
                skipped: progress.skipped,
            });
            self.state.record_progress(progress.collect()).await?;
            unstored.into_iter().for_each(|(run, progress)| run.note_stored(progress));
        }
        for (run, end) in ended {
            if end == ReplayEnd::Done {
                self.control.end_job(&run.job, JobState::Done).await?;
            }
            self.control.jobs.lock().remove(&run.job.id);
        }
        Ok(())
    }

    /// Takes the lease, or renews it when it is time. Returns false when another control has it.
    async fn hold_lease(&mut self) -> Result<bool, StoreError> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < RENEW_AFTER) {
            return Ok(true);
        }
        let (now, clock) = (Instant::now(), (self.control.deps.clock)());
        if !self.state.acquire_lease(LEASE, self.holder(), millis(LEASE_TIME), clock).await? {
            self.renewed_at = None;
            return Ok(false);
        }
        if self.renewed_at.replace(now).is_none() {
            tracing::debug!("jobs.lease_acquired");
        }
        Ok(true)
    }

    async fn release_lease(&mut self) -> Result<(), StoreError> {
        if self.renewed_at.is_some() {
            self.state.release_lease(LEASE, self.holder()).await?;
            self.renewed_at = None;
        }
        Ok(())
    }

    /// Stops everything, since another control may go on with it.
    async fn lose_lease(&mut self) {
        self.renewed_at = None;
        self.stand_still().await;
        self.control.jobs.lock().clear();
        tracing::warn!("jobs.lease_lost");
    }

    /// Stops all jobs of this process, and waits for the end of what is under way.
    async fn stand_still(&mut self) {
        self.control.jobs.all().iter().for_each(|run| run.stop.cancel());
        while self.tasks.join_next().await.is_some() {}
    }

    async fn trim(&mut self) -> Result<(), StoreError> {
        if self.trimmed_at.elapsed() >= TRIM_INTERVAL {
            let before = (self.control.deps.clock)().saturating_sub(millis(KEPT));
            self.state.trim_jobs(before, MOST_ENDED).await?;
            self.trimmed_at = Instant::now();
        }
        Ok(())
    }

    /// This process, among those that want the lease.
    fn holder(&self) -> &'a str {
        self.control.deps.outbox.process()
    }

    fn note_failure(&mut self, done: Result<(), StoreError>) {
        let has_failed = done.is_err();
        match done {
            Err(error) if !self.has_failed => tracing::warn!(%error, "jobs.not_stored"),
            _ => {}
        }
        self.has_failed = has_failed;
    }
}
