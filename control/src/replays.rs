//! Replays as jobs: what a row keeps of one, how one starts, and how it goes on.

use std::{collections::BTreeSet, sync::Arc};

use broker::{Log, ReadError, records::ReplayMarker};
use futures_util::{TryStreamExt as _, future};
use schemas::{EndpointState, EventId, time::rfc3339};
use serde::{Deserialize, Serialize, Serializer};
use service::chance;
use store::{Job, JobState, Snapshot, StoreError};
use tokio::time::{Instant, sleep};

use crate::{
    Control, DeadLetterFilter, LiveDeadLetters, Rate, Receivers, Replay, ReplayEnd, ReplayProgress, Runs,
    history::HistoryReplay,
    jobs::RunningJob,
    log_search::read_ranges,
    log_turns::{LogsInTurns, REQUEST_TIME},
    replay::READ_RETRY,
    replay_tracker::{LetterState, ReplayPosition, ReplayTracker},
};

/// What replays are of, where they do not say it.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";
/// The kind of these jobs.
pub(crate) const REPLAY: &str = "replay";

/// What a replay was asked for, as its row keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ReplaySpec {
    History(HistoryReplay),
    DeadLetters(DeadLetterReplay),
}

/// A replay of dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeadLetterReplay {
    pub(crate) filter: DeadLetterFilter,
    /// Starts a second.
    pub(crate) rate: Rate,
    /// Revision at which the filter named an endpoint; 0 when it named none.
    pub(crate) named_at: u64,
    /// Offset of the log at the start. Dead letters from there on are not replayed.
    pub(crate) end: u64,
}

impl ReplaySpec {
    pub(crate) fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

impl ReplayPosition {
    /// Reads the position of a row. One that cannot be read is the beginning: what was replayed is not alive any more.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// A replay, as answers show it.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayView<'a> {
    id: &'a str,
    tenant: &'a str,
    #[serde(serialize_with = "state")]
    state: JobState,
    matched: u64,
    at_least: bool,
    replayed: u64,
    skipped: u64,
    started_at: String,
    ended_at: Option<String>,
    from: String,
    filter: serde_json::Value,
    to_endpoint_id: Option<String>,
}

fn state<S: Serializer>(state: &JobState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

impl<'a> ReplayView<'a> {
    /// Shows a row, with the progress that is not stored yet.
    pub(crate) fn of(job: &'a Job, newer: Option<&ReplayProgress>) -> Self {
        let spec: serde_json::Value = serde_json::from_str(&job.spec).unwrap_or_default();
        Self {
            id: &job.id,
            tenant: &job.tenant,
            state: job.state,
            matched: job.matched,
            at_least: spec["at_least"] == true,
            replayed: newer.map_or(job.done, |newer| newer.replayed),
            skipped: newer.map_or(job.skipped, |newer| newer.skipped),
            started_at: rfc3339(job.started_at),
            ended_at: job.ended_at.map(rfc3339),
            from: spec["from"].as_str().unwrap_or(DEAD_LETTERS).to_owned(),
            filter: spec["filter"].clone(),
            to_endpoint_id: spec["to_endpoint_id"].as_str().map(str::to_owned),
        }
    }
}

/// Why a replay, or a search of a log, cannot start now.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error(transparent)]
    Unread(#[from] ReadError),
    #[error(transparent)]
    NotStored(#[from] StoreError),
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

    /// Finds a tenant's dead letters, and keeps a job that replays them. Dead letters that are added later are not
    /// replayed, and those for endpoints that are disabled or do not exist are skipped.
    pub async fn start_replay(
        &self,
        tenant: &str,
        filter: DeadLetterFilter,
        rate: Option<Rate>,
    ) -> Result<Job, NotStarted> {
        let (matched, end) = {
            let searched = self.find_dead_letters(tenant, &filter, Instant::now() + REQUEST_TIME).await?;
            (LiveDeadLetters::of(&searched), searched.end().unwrap_or_default())
        };
        let without = self.without_receivers(tenant, &matched).await;
        match without.first() {
            Some(first) if matched.only(|endpoint| !without.contains(endpoint)).is_empty() => {
                return Err(NotStarted::NoReceiver(first.clone(), without.len()));
            }
            _ => {}
        }
        let snapshot = self.deps.store.snapshot().filter(|_| filter.endpoint_id.is_some());
        let named_at = snapshot.map_or(0, |snapshot| snapshot.revision());
        let rate = rate.unwrap_or(self.replay_rate);
        let spec = ReplaySpec::DeadLetters(DeadLetterReplay { filter, rate, named_at, end });
        self.insert_replay(tenant, &spec, matched.len() as u64).await
    }

    /// Keeps a job that replays what was found at its start.
    pub(crate) async fn insert_replay(&self, tenant: &str, spec: &ReplaySpec, matched: u64) -> Result<Job, NotStarted> {
        let now = (self.deps.clock)();
        let job = Job {
            id: EventId::fresh(now, chance::bytes(&self.deps.chance)).to_string(),
            tenant: tenant.to_owned(),
            tenant_created: self.created(tenant),
            kind: REPLAY.to_owned(),
            state: JobState::Running,
            spec: serde_json::json!(spec).to_string(),
            matched,
            position: String::new(),
            done: 0,
            skipped: 0,
            started_at: now,
            ended_at: None,
        };
        if !self.control_state()?.insert_job(job.clone(), self.jobs.most).await? {
            return Err(NotStarted::TooMany);
        }
        self.jobs.wake.notify_one();
        Ok(job)
    }

    /// The endpoints of dead letters that are disabled or do not exist: deliveries to them would end at once as dead
    /// letters again. Those to a paused endpoint wait for it.
    async fn without_receivers(&self, tenant: &str, letters: &LiveDeadLetters) -> BTreeSet<String> {
        let store = &self.deps.store;
        let without = |snapshot: Option<Arc<Snapshot>>| -> BTreeSet<String> {
            let keeps = |id: &str| {
                let endpoint = snapshot.as_ref().and_then(|snapshot| snapshot.endpoint(tenant, id));
                endpoint.is_some_and(|endpoint| endpoint.state != EndpointState::Disabled)
            };
            letters.endpoints().into_iter().filter(|id| !keeps(id)).map(str::to_owned).collect()
        };
        let unreachable = without(store.snapshot());
        if unreachable.is_empty() {
            return unreachable;
        }
        // Another process may just have enabled them. After an error the last good snapshot stays.
        let _ = store.pull().await;
        without(store.snapshot())
    }

    /// Replays what is left of a job, until it is done or stopped.
    pub(crate) async fn replay(&self, run: &RunningJob) -> ReplayEnd {
        self.metrics.replays_running.inc();
        let end = match &run.spec {
            ReplaySpec::DeadLetters(spec) => self.replay_dead_letters(run, spec).await,
            ReplaySpec::History(spec) => self.replay_from_history(run, spec).await,
        };
        self.metrics.replays_running.dec();
        end
    }

    async fn replay_dead_letters(&self, run: &RunningJob, spec: &DeadLetterReplay) -> ReplayEnd {
        let RunningJob { job, stop, .. } = run;
        let Some((live, tracker)) = stop.run_until_cancelled(self.find_rest(run, spec)).await else {
            return ReplayEnd::Stopped;
        };
        run.note(tracker.progress());
        let has_room = || self.has_room_for_replays(&job.tenant);
        let replay = Replay {
            broker: &*self.deps.broker,
            receivers: Some(Receivers { store: &*self.deps.store, named_at: spec.named_at }),
            replay_id: &job.id,
            has_room: Some(&has_room),
            rate: Some(spec.rate),
            clock: &self.deps.clock,
            outbox: Some(&self.deps.outbox),
            runs: Some(Runs { recorder: &self.deps.recorder, tenant_created: job.tenant_created }),
            metrics: Some(&self.metrics),
            stop: stop.clone(),
        };
        replay.run(live, tracker, |progress| run.note(progress)).await
    }

    /// Finds what is left of a job, however long the log cannot be read.
    async fn find_rest(&self, run: &RunningJob, spec: &DeadLetterReplay) -> (LiveDeadLetters, ReplayTracker) {
        let mut has_failed = false;
        loop {
            match self.rest_of(run, spec).await {
                Ok(rest) => return rest,
                // The search goes on from where it was.
                Err(NotStarted::TooSlow) => continue,
                Err(NotStarted::Unread(error)) if !std::mem::replace(&mut has_failed, true) => {
                    let dead_letter_id = run.progress().position.next;
                    tracing::warn!(%error, dead_letter_id, "dead_letters.unreadable");
                }
                Err(_) => {}
            }
            sleep(READ_RETRY).await;
        }
    }

    /// Searches the log as at the start of the job. Markers say what it has replayed since its position was stored.
    async fn rest_of(
        &self,
        run: &RunningJob,
        spec: &DeadLetterReplay,
    ) -> Result<(LiveDeadLetters, ReplayTracker), NotStarted> {
        let job = &run.job;
        let position = run.progress().position;
        let found = {
            let searched = self.find_dead_letters(&job.tenant, &spec.filter, Instant::now() + REQUEST_TIME).await?;
            LiveDeadLetters::of(&searched).within(position.next..spec.end)
        };
        let replayed = self.replayed_by(job, spec.end).await?.into_iter().filter(|offset| *offset >= position.next);
        let without = self.without_receivers(&job.tenant, &found).await;
        let letters = found.iter().map(|(offset, endpoint)| match without.contains(endpoint) {
            true => (offset, LetterState::Skipped),
            false => (offset, LetterState::Open),
        });
        let letters = letters.chain(replayed.map(|offset| (offset, LetterState::Replayed))).collect();
        Ok((found.only(|endpoint| !without.contains(endpoint)), ReplayTracker::new(position, spec.end, letters)))
    }

    /// Offsets of the dead letters that a job has replayed. Its markers are all from `since` on.
    async fn replayed_by(&self, job: &Job, since: u64) -> Result<BTreeSet<u64>, ReadError> {
        let logs = self.logs_in_turns();
        let ranges = self.dead_letter_index.ranges(Some(&job.tenant), since);
        let markers = read_ranges(&logs, Log::Dead, ranges).try_filter_map(|record| {
            let marker = ReplayMarker::is_marker(&record).then(|| ReplayMarker::read(&record)).flatten();
            future::ok(marker.filter(|marker| marker.job == job.id).map(|marker| marker.offset))
        });
        markers.try_collect().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_is_read_as_it_was_written() {
        let filter = json!({"ids": ["7", "12"], "endpoint_id": "crm", "reason": "exhausted",
            "event_type": "ticket.created", "since": "2026-01-31T08:00:00.000Z", "until": "2026-02-01T00:00:00.000Z"});
        for filter in [filter, json!({}), json!({"ids": []})] {
            let text = json!({"filter": filter, "rate": 2.5, "named_at": 3, "end": 40}).to_string();
            let spec = ReplaySpec::read(&text).unwrap();
            assert_eq!(json!(spec), serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
        assert!(ReplaySpec::read(r#"{"filter":{"unknown":"x"},"rate":1.0,"named_at":0,"end":0}"#).is_err());
    }
}
