//! The replays of this process. They are in its memory only: after a restart nobody knows them, and what they had not
//! replayed is still a dead letter.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tokio::sync::watch;

use crate::Filter;

/// Replays that are remembered, running ones aside: their answers are small, but somebody may start one a minute.
const REMEMBERED: usize = 1_000;

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It goes on.
    Running,
    /// All that was found was replayed, but for what the log says otherwise.
    Done,
    /// It was asked to end before.
    Stopped,
}

impl JobState {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }
}

/// A replay, as answers show it: `{"id","state","matched","replayed","skipped","filter"}`.
#[derive(Debug)]
pub struct Job {
    /// Its id, a UUIDv7.
    pub id: String,
    /// Whose dead letters.
    pub tenant: String,
    /// Which of them.
    pub filter: Filter,
    /// How many there were at its start.
    pub matched: u64,
    /// How many were published again so far.
    pub replayed: AtomicU64,
    /// How many cannot be, since their bodies were not kept.
    pub skipped: AtomicU64,
    state: watch::Sender<JobState>,
}

impl Job {
    /// One that begins.
    pub fn new(id: String, tenant: String, filter: Filter, matched: u64) -> Self {
        let (replayed, skipped, state) = (AtomicU64::new(0), AtomicU64::new(0), watch::Sender::new(JobState::Running));
        Self { id, tenant, filter, matched, replayed, skipped, state }
    }

    /// How far it is.
    pub fn state(&self) -> JobState {
        *self.state.borrow()
    }

    /// Ends it, unless it has ended: what it is then, it stays.
    pub fn end(&self, as_what: JobState) {
        self.state.send_if_modified(|state| {
            let runs = *state == JobState::Running;
            if runs {
                *state = as_what;
            }
            runs
        });
    }

    /// Returns once it has ended.
    pub async fn ended(&self) {
        // The sender is in `self`, so this ends by the state alone.
        let _ = self.state.subscribe().wait_for(|state| *state != JobState::Running).await;
    }
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut job = serializer.serialize_struct("Replay", 6)?;
        job.serialize_field("id", &self.id)?;
        job.serialize_field("state", &self.state())?;
        job.serialize_field("matched", &self.matched)?;
        job.serialize_field("replayed", &self.replayed.load(Ordering::Relaxed))?;
        job.serialize_field("skipped", &self.skipped.load(Ordering::Relaxed))?;
        job.serialize_field("filter", &self.filter)?;
        job.end()
    }
}

/// All that are known.
#[derive(Debug)]
pub(crate) struct Jobs {
    most: usize,
    /// Never held across an await.
    known: Mutex<VecDeque<Arc<Job>>>,
}

/// As many run already as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Jobs {
    /// Of which at most `most` run at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Takes one in, and forgets the oldest that has ended if there are too many.
    pub(crate) fn add(&self, job: Job) -> Result<Arc<Job>, TooMany> {
        let mut known = self.lock();
        let running = known.iter().filter(|job| job.state() == JobState::Running).count();
        if running >= self.most {
            return Err(TooMany);
        }
        if known.len() - running >= REMEMBERED
            && let Some(oldest) = known.iter().position(|job| job.state() != JobState::Running)
        {
            known.remove(oldest);
        }
        let job = Arc::new(job);
        known.push_back(job.clone());
        Ok(job)
    }

    /// A tenant's replay by id.
    pub(crate) fn get(&self, tenant: &str, id: &str) -> Option<Arc<Job>> {
        self.lock().iter().find(|job| job.id == id && job.tenant == tenant).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: usize) -> Job {
        Job::new(id.to_string(), "acme".into(), Filter::default(), 0)
    }

    #[test]
    fn only_so_many_run_at_once() {
        let jobs = Jobs::new(2);
        let first = jobs.add(job(1)).unwrap();
        jobs.add(job(2)).unwrap();
        assert_eq!(jobs.add(job(3)).unwrap_err(), TooMany);
        first.end(JobState::Done);
        jobs.add(job(3)).unwrap();
    }

    #[test]
    fn the_oldest_that_ended_is_forgotten_first() {
        let jobs = Jobs::new(1 + REMEMBERED);
        let runs = jobs.add(job(0)).unwrap();
        for id in 1..=REMEMBERED + 1 {
            jobs.add(job(id)).unwrap().end(JobState::Done);
        }
        assert!(jobs.get("acme", "1").is_none() && jobs.get("acme", "2").is_some());
        assert!(jobs.get("acme", &runs.id).is_some(), "running ones are not forgotten");
        assert!(jobs.get("zeta", "2").is_none(), "another tenant's is not there");
    }

    #[test]
    fn what_a_replay_ended_as_it_stays() {
        let job = job(1);
        job.end(JobState::Stopped);
        job.end(JobState::Done);
        assert_eq!(job.state(), JobState::Stopped);
    }
}
