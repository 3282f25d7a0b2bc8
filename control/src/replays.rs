//! The replays of this process. They are kept in memory only: after a restart they are forgotten, and dead letters that
//! they had not replayed are still alive.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use broker::ReadError;
use schemas::{EndpointState, EventId, time::rfc3339};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use service::chance;
use store::Snapshot;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Control, DeadLetterFilter, LiveDeadLetters, Rate, Receivers, Replay, ReplayEnd, ReplayProgress,
    log_turns::{LogsInTurns, REQUEST_TIME},
};

/// Most ended replays that are remembered. Each has a filter of up to a thousand ids, and a program may start one a minute.
const REMEMBERED: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    Running,
    /// Every dead letter was replayed, except for those that were skipped or that the process logged.
    Done,
    Stopped,
}

impl ReplayState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }
}

/// A replay of this process, as answers show it.
#[derive(Debug)]
pub struct ReplayJob {
    /// A UUIDv7.
    pub id: String,
    pub tenant: String,
    pub filter: DeadLetterFilter,
    /// Dead letters that were found at the start.
    pub matched: u64,
    /// Dead letters that were published again so far.
    pub replayed: AtomicU64,
    /// Dead letters that stay alive: their bodies were not kept, their endpoints are disabled, do not exist or were made
    /// anew, or they came back from a replay and there is no room for more of these.
    pub skipped: AtomicU64,
    /// In unix milliseconds, as the next.
    started_at: u64,
    ended_at: OnceLock<u64>,
    state: watch::Sender<ReplayState>,
}

impl ReplayJob {
    /// `now` is in unix milliseconds.
    pub fn new(id: String, tenant: String, filter: DeadLetterFilter, matched: u64, now: u64) -> Self {
        let (replayed, skipped, state) =
            (AtomicU64::new(0), AtomicU64::new(0), watch::Sender::new(ReplayState::Running));
        Self { id, tenant, filter, matched, replayed, skipped, started_at: now, ended_at: OnceLock::new(), state }
    }

    pub fn state(&self) -> ReplayState {
        *self.state.borrow()
    }

    /// Ends the replay. One that has ended already keeps its state. `now` is in unix milliseconds.
    pub fn end(&self, as_what: ReplayState, now: u64) {
        self.state.send_if_modified(|state| {
            let runs = *state == ReplayState::Running;
            if runs {
                *state = as_what;
                let _ = self.ended_at.set(now);
            }
            runs
        });
    }

    /// Waits until the replay has ended.
    pub async fn ended(&self) {
        // `self` owns the sender, so only the state can end the wait.
        let _ = self.state.subscribe().wait_for(|state| *state != ReplayState::Running).await;
    }
}

impl Serialize for ReplayJob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut job = serializer.serialize_struct("Replay", 9)?;
        job.serialize_field("id", &self.id)?;
        job.serialize_field("tenant", &self.tenant)?;
        job.serialize_field("state", &self.state())?;
        job.serialize_field("matched", &self.matched)?;
        job.serialize_field("replayed", &self.replayed.load(Ordering::Relaxed))?;
        job.serialize_field("skipped", &self.skipped.load(Ordering::Relaxed))?;
        job.serialize_field("started_at", &rfc3339(self.started_at))?;
        job.serialize_field("ended_at", &self.ended_at.get().copied().map(rfc3339))?;
        job.serialize_field("filter", &self.filter)?;
        job.end()
    }
}

/// The replays that this process remembers.
#[derive(Debug)]
pub(crate) struct ReplayJobs {
    most: usize,
    /// The lock is never held across an await.
    known: Mutex<VecDeque<Arc<ReplayJob>>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl ReplayJobs {
    /// Remembers no replay yet. At most `most` may run at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Adds a replay. When too many are remembered, forgets the oldest ended one of the tenant with the most, so that none
    /// makes those of others go.
    pub(crate) fn add(&self, job: ReplayJob) -> Result<Arc<ReplayJob>, TooMany> {
        let mut known = self.lock();
        let running = known.iter().filter(|job| job.state() == ReplayState::Running).count();
        if running >= self.most {
            return Err(TooMany);
        }
        if known.len() - running >= REMEMBERED {
            let mut ended: HashMap<&str, Vec<usize>> = HashMap::new();
            for (at, job) in known.iter().enumerate().filter(|(_, job)| job.state() != ReplayState::Running) {
                ended.entry(&job.tenant).or_default().push(at);
            }
            if let Some(oldest) = ended.into_values().max_by_key(Vec::len).map(|of_one| of_one[0]) {
                known.remove(oldest);
            }
        }
        let job = Arc::new(job);
        known.push_back(job.clone());
        Ok(job)
    }

    /// Returns the replay of this id if it belongs to the tenant.
    pub(crate) fn get(&self, tenant: &str, id: &str) -> Option<Arc<ReplayJob>> {
        self.lock().iter().find(|job| job.id == id && job.tenant == tenant).cloned()
    }

    /// The replays of a tenant, or of all, newest first: those before the id `after`, at most `limit`.
    pub(crate) fn newest(&self, tenant: Option<&str>, after: Option<&str>, limit: usize) -> Vec<Arc<ReplayJob>> {
        let known = self.lock();
        let mut own: Vec<_> = known.iter().filter(|job| tenant.is_none_or(|tenant| job.tenant == tenant)).collect();
        own.sort_unstable_by(|one, other| other.id.cmp(&one.id));
        let after = own.into_iter().filter(|job| after.is_none_or(|after| *job.id < *after));
        after.take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<ReplayJob>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a replay, or a search of a log, cannot start now.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error(transparent)]
    Unread(#[from] ReadError),
    #[error("too many replays run")]
    TooMany,
    /// Another request reads the log for the same tenant, or very many requests of other tenants do.
    #[error("the log is being read for another request")]
    Busy,
    #[error("reading the log takes long: ask again, and it goes on from where it is")]
    TooSlow,
    /// The first of these endpoints, and how many there are. Replayed deliveries would end at once as dead letters.
    #[error(
        "all of these dead letters are for endpoints that are disabled or do not exist, such as {0:?} ({1} in all): \
         enable or restore them first"
    )]
    NoReceiver(String, usize),
}

impl Control {
    /// The revision that created a tenant; 0 where that is not known.
    pub(crate) fn created(&self, tenant: &str) -> u64 {
        let snapshot = self.deps.store.snapshot();
        snapshot.as_ref().and_then(|snapshot| snapshot.tenant(tenant)).map_or(0, |tenant| tenant.created())
    }

    /// The broker's logs, for requests: all together read a few records at once.
    pub(crate) fn logs_in_turns(&self) -> LogsInTurns<'_> {
        LogsInTurns { logs: &*self.deps.broker, turns: self.log_turns.clone() }
    }

    /// Finds a tenant's dead letters, then replays them in a background task. Dead letters that are added later are not
    /// replayed, and those for endpoints that are disabled or do not exist are skipped.
    pub async fn start_replay(
        self: &Arc<Self>,
        tenant: &str,
        filter: DeadLetterFilter,
        rate: Option<Rate>,
    ) -> Result<Arc<ReplayJob>, NotStarted> {
        let searched = self.find_dead_letters(tenant, &filter, Instant::now() + REQUEST_TIME).await?;
        let matched = LiveDeadLetters::of(&searched);
        let live = self.with_receivers(tenant, &matched).await?;
        let snapshot = self.deps.store.snapshot().filter(|_| filter.endpoint_id.is_some());
        let named_at = snapshot.map_or(0, |snapshot| snapshot.revision());
        let now = (self.deps.clock)();
        let id = EventId::fresh(now, chance::bytes(&self.deps.chance)).to_string();
        let job = self.replays.add(ReplayJob::new(id, tenant.to_owned(), filter, matched.len() as u64, now));
        let job = job.map_err(|TooMany| NotStarted::TooMany)?;
        self.tasks.spawn(self.clone().replay(job.clone(), live, named_at, rate.unwrap_or(self.replay_rate)));
        Ok(job)
    }

    /// Leaves out dead letters for endpoints that are disabled or do not exist, because their deliveries would end at
    /// once as dead letters again.
    async fn with_receivers(&self, tenant: &str, matched: &LiveDeadLetters) -> Result<LiveDeadLetters, NotStarted> {
        let store = &self.deps.store;
        let without = |snapshot: Option<Arc<Snapshot>>| -> BTreeSet<String> {
            let is_active = |id: &str| {
                let endpoint = snapshot.as_ref().and_then(|snapshot| snapshot.endpoint(tenant, id));
                endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Active)
            };
            matched.endpoints().into_iter().filter(|id| !is_active(id)).map(str::to_owned).collect()
        };
        let mut unreachable = without(store.snapshot());
        if !unreachable.is_empty() {
            // Another process may just have enabled them. After an error the last good snapshot stays.
            let _ = store.pull().await;
            unreachable = without(store.snapshot());
        }
        let live = matched.only(|endpoint| !unreachable.contains(endpoint));
        match unreachable.first() {
            Some(first) if live.is_empty() => Err(NotStarted::NoReceiver(first.clone(), unreachable.len())),
            _ => Ok(live),
        }
    }

    async fn replay(self: Arc<Self>, job: Arc<ReplayJob>, live: LiveDeadLetters, named_at: u64, rate: Rate) {
        self.metrics.replays_running.inc();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (broker, clock) = (&*self.deps.broker, &self.deps.clock);
        let (outbox, metrics) = (Some(&*self.deps.outbox), Some(&self.metrics));
        let receivers = Some(Receivers { store: &*self.deps.store, named_at });
        let (replay_id, rate) = (&job.id, Some(rate));
        let has_room = || self.has_room_for_replays(&job.tenant);
        let has_room: Option<&(dyn Fn() -> bool + Sync)> = Some(&has_room);
        let replay = Replay { broker, receivers, replay_id, has_room, rate, clock, outbox, metrics, stop: stopped };
        let left_out = job.matched.saturating_sub(live.len() as u64);
        job.skipped.store(left_out, Ordering::Relaxed);
        let progress = |ReplayProgress { replayed, skipped }: ReplayProgress| {
            job.replayed.store(replayed, Ordering::Relaxed);
            job.skipped.store(left_out + skipped, Ordering::Relaxed);
        };
        let cancel_at_the_end = async {
            tokio::select! {
                () = job.ended() => {}
                () = self.deps.stop.cancelled() => {}
            }
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let end = tokio::select! {
            end = replay.run(live, progress) => end,
            never = cancel_at_the_end => match never {},
        };
        self.metrics.replays_running.dec();
        let state = match end {
            ReplayEnd::Done => ReplayState::Done,
            ReplayEnd::Stopped => ReplayState::Stopped,
        };
        job.end(state, (self.deps.clock)());
        let (state, replayed) = (job.state().as_str(), job.replayed.load(Ordering::Relaxed));
        let (tenant, matched, skipped) = (&job.tenant, job.matched, job.skipped.load(Ordering::Relaxed));
        tracing::info!(replay_id = job.id, tenant, state, matched, replayed, skipped, "replay.ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: usize) -> ReplayJob {
        ReplayJob::new(id.to_string(), "acme".into(), DeadLetterFilter::default(), 0, 0)
    }

    #[test]
    fn replays_beyond_the_most_are_refused_until_one_ends() {
        let jobs = ReplayJobs::new(2);
        let first = jobs.add(job(1)).unwrap();
        jobs.add(job(2)).unwrap();
        assert_eq!(jobs.add(job(3)).unwrap_err(), TooMany);
        first.end(ReplayState::Done, 0);
        jobs.add(job(3)).unwrap();
    }

    #[test]
    fn replays_that_ended_are_forgotten_from_the_oldest_on() {
        let jobs = ReplayJobs::new(1 + REMEMBERED);
        let runs = jobs.add(job(0)).unwrap();
        for id in 1..=REMEMBERED + 1 {
            jobs.add(job(id)).unwrap().end(ReplayState::Done, 0);
        }
        assert!(jobs.get("acme", "1").is_none() && jobs.get("acme", "2").is_some());
        assert!(jobs.get("acme", &runs.id).is_some(), "running ones are not forgotten");
        assert!(jobs.get("zeta", "2").is_none(), "another tenant's is not there");
    }

    #[test]
    fn replays_of_one_tenant_do_not_make_those_of_another_go() {
        let jobs = ReplayJobs::new(1);
        jobs.add(ReplayJob { tenant: "zeta".into(), ..job(0) }).unwrap().end(ReplayState::Done, 0);
        for id in 1..=2 * REMEMBERED {
            jobs.add(job(id)).unwrap().end(ReplayState::Done, 0);
        }
        assert_eq!(jobs.lock().len(), REMEMBERED);
        assert!(jobs.get("zeta", "0").is_some());
    }

    #[test]
    fn replays_are_listed_newest_first_in_pages() {
        let jobs = ReplayJobs::new(9);
        for id in 1..=4 {
            jobs.add(job(id)).unwrap();
        }
        let ids = |after, limit| {
            let page = jobs.newest(Some("acme"), after, limit);
            page.iter().map(|job| job.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!((ids(None, 3), ids(Some("2"), 3)), (vec!["4".into(), "3".into(), "2".into()], vec!["1".into()]));
        assert_eq!((jobs.newest(None, None, 9).len(), jobs.newest(Some("zeta"), None, 9).len()), (4, 0));
    }

    #[test]
    fn a_replay_that_has_ended_keeps_its_state() {
        let job = job(1);
        job.end(ReplayState::Stopped, 0);
        job.end(ReplayState::Done, 0);
        assert_eq!(job.state(), ReplayState::Stopped);
    }
}
