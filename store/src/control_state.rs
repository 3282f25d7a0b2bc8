//! What control keeps beside the configuration and outlives its process: jobs, and leases on work that one process at a
//! time may do.

use futures_util::future::BoxFuture;

use crate::StoreError;

pub trait ControlState: Send + Sync {
    /// Inserts a running job, durably, unless `most` jobs of its kind run already. Returns false then.
    fn insert_job(&self, job: Job, most: u32) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Stores how far jobs are, all or none. Jobs that have ended, and may have been stopped meanwhile, are included.
    fn record_progress(&self, progress: Vec<JobProgress>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a job at a time, in unix milliseconds. Returns false when it does not run, and nothing was changed.
    fn end_job<'a>(&'a self, id: &'a str, state: JobState, at: u64) -> BoxFuture<'a, Result<bool, StoreError>>;

    fn job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Job>, StoreError>>;

    /// Returns jobs of a kind, the newest first.
    fn jobs<'a>(&'a self, query: JobQuery<'a>) -> BoxFuture<'a, Result<Vec<Job>, StoreError>>;

    /// Returns all jobs that run, of every kind, the oldest first.
    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>>;

    /// Deletes jobs that ended before a time, in unix milliseconds, and those beyond the newest `most` ended ones of each
    /// tenant and kind. Returns how many.
    fn trim_jobs(&self, before: u64, most: u32) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Takes a lease for `ttl` milliseconds from `now` on, in unix milliseconds, or renews it. Returns false while another
    /// holder has it. Clocks of holders must not differ by as much as `ttl`.
    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: u64,
        now: u64,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Gives a lease up. Does nothing when another holder has it.
    fn release_lease<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Work of a tenant that goes on after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// A UUIDv7.
    pub id: String,
    pub tenant: String,
    /// Revision that created the tenant; 0 where that is not known. A tenant made anew under the same id has another one.
    pub tenant_created: u64,
    /// What is done, such as `replay`.
    pub kind: String,
    pub state: JobState,
    /// What was asked for, as JSON that its kind defines.
    pub spec: String,
    /// Items that were found at the start.
    pub matched: u64,
    /// Where it goes on, as JSON that its kind defines; empty before the first progress.
    pub position: String,
    /// Items that were done.
    pub done: u64,
    /// Items that are left as they are.
    pub skipped: u64,
    /// In unix milliseconds, as the next.
    pub started_at: u64,
    pub ended_at: Option<u64>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobProgress {
    /// The job's id.
    pub id: String,
    pub position: String,
    pub done: u64,
    pub skipped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    /// Everything was done that can be.
    Done,
    /// Somebody stopped it, or its tenant was deleted.
    Stopped,
}

impl JobState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }

    /// Reads the text of a row. One that this version does not know is taken for an end.
    pub(crate) fn parse(text: &str) -> Self {
        [Self::Running, Self::Done].into_iter().find(|state| state.as_str() == text).unwrap_or(Self::Stopped)
    }
}

/// Which jobs are listed.
#[derive(Clone, Copy, Debug)]
pub struct JobQuery<'a> {
    pub kind: &'a str,
    /// The tenant, and the revision that created it. None for all tenants.
    pub tenant: Option<(&'a str, u64)>,
    /// Id of a job; only those that are older than it.
    pub before: Option<&'a str>,
    pub limit: u32,
}
