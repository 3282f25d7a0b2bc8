//! Replays from history: deliveries that a filter finds are sent again, the oldest first, to their own endpoints or to another
//! one. A day at a time is looked through, so that its order costs little memory.

use std::{
    collections::{BTreeMap, HashSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use broker::{Log, PublishError};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use history::{ContactToken, DeliveryState, Filter, History, HistoryError, MAX_PAGE, PageRequest};
use serde::{Deserialize, Serialize};
use store::{Job, JobProgress, TenantSnapshot};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{
    Resend, ResendError, ShownSince,
    fields::{self, InvalidField},
    scope_of,
};
use crate::{
    Control, NotStarted, Rate, ReplayEnd, WINDOW, jobs::RunningJob, rate::Throttle, replay_tracker::ReplayPosition,
    replays::ReplaySpec,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Pause after a failure that may pass.
const RETRY: Duration = Duration::from_secs(1);

/// What a replay from history was asked for, as its row keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistoryReplay {
    from: FromHistory,
    /// Fields of the request, by their names. A contact is in none of them.
    pub(crate) filter: BTreeMap<String, String>,
    /// The contact's token in the tenant's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<ContactToken>,
    /// First and last acceptance, in unix milliseconds: what is accepted later than the start is not meant.
    since: u64,
    until: u64,
    /// True when the time was over before all of them were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    /// Starts a second.
    rate: Rate,
    /// Where all of it goes, rendered anew; none for the endpoints that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to_endpoint_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FromHistory {
    History,
}

/// A request for a replay from history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HistorySelection {
    pub(crate) filter: BTreeMap<String, String>,
    pub(crate) dry_run: bool,
    pub(crate) rate: Option<Rate>,
    pub(crate) to_endpoint_id: Option<String>,
}

/// A delivery that is to be sent again.
struct Found {
    accepted_at: u64,
    id: Uuid,
    is_waiting: bool,
    endpoint_id: String,
    event_id: String,
    part: String,
}

/// What became of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Sent,
    /// Its body is not kept any more, its endpoint is disabled or does not exist, or it is sent anyway.
    Skipped,
}

impl HistoryReplay {
    /// What a request means now.
    pub(crate) async fn new(
        control: &Control,
        tenant: &Arc<TenantSnapshot>,
        history: &dyn History,
        selection: HistorySelection,
    ) -> Result<Self, HistoryError> {
        let HistorySelection { mut filter, rate, to_endpoint_id, .. } = selection;
        let now = (control.deps.clock)();
        let contact = match filter.remove("contact") {
            Some(contact) => Some(history::token(&history.tenant_key(&scope_of(tenant)).await?, &contact)),
            None => None,
        };
        let whole = filter_of(&filter).unwrap_or_default();
        let since = whole.since.unwrap_or(0).max(ShownSince::of(tenant, now).records);
        let until = whole.until.unwrap_or(u64::MAX).min(now + 1);
        let rate = rate.unwrap_or(control.replay_rate);
        Ok(Self { from: FromHistory::History, filter, contact, since, until, at_least: false, rate, to_endpoint_id })
    }

    fn filter(&self, scope: String, since: u64, until: u64) -> Filter {
        Filter {
            tenant: Some(scope),
            contact_token: self.contact,
            since: Some(since.max(self.since)),
            until: Some(until.min(self.until)),
            ..filter_of(&self.filter).unwrap_or_default()
        }
    }
}

/// The filter of fields that a request names, or the first that is wrong.
fn filter_of(named: &BTreeMap<String, String>) -> Result<Filter, InvalidField> {
    let mut filter = Filter::default();
    for (name, text) in named {
        fields::set(&mut filter, name, text)?;
    }
    Ok(filter)
}

impl Control {
    /// Counts what a replay from history would send, or part of it where the time is over. Returns whether that is all.
    pub(crate) async fn count_in_history(
        &self,
        tenant: &Arc<TenantSnapshot>,
        history: &dyn History,
        spec: &HistoryReplay,
        until: Instant,
    ) -> Result<(u64, bool), HistoryError> {
        let filter = spec.filter(scope_of(tenant), 0, u64::MAX);
        let (mut page, mut count) = (PageRequest { filter, limit: MAX_PAGE, after: None }, 0);
        loop {
            let Ok(found) = timeout_at(until, history.deliveries(&page)).await else { return Ok((count, false)) };
            let found = found?;
            count += found.items.len() as u64;
            page.after = found.next;
            if page.after.is_none() {
                return Ok((count, true));
            }
        }
    }

    /// Keeps a job that sends again what history has.
    pub(crate) async fn start_history_replay(
        &self,
        tenant: &Arc<TenantSnapshot>,
        spec: HistoryReplay,
        (matched, is_all): (u64, bool),
    ) -> Result<Job, NotStarted> {
        let spec = HistoryReplay { at_least: !is_all, ..spec };
        self.insert_replay(&tenant.id, &ReplaySpec::History(spec), matched).await
    }

    /// Sends what is left of a job, until it is done or stopped. Waits while history or the broker is away.
    pub(crate) async fn replay_from_history(&self, run: &RunningJob, spec: &HistoryReplay) -> ReplayEnd {
        let done = run.stop.run_until_cancelled(async {
            let snapshot = self.deps.store.snapshot();
            let tenant = snapshot.as_ref().and_then(|snapshot| snapshot.tenant(&run.job.tenant));
            if let (Some(history), Some(tenant)) = (&self.deps.history, tenant) {
                Sending { control: self, run, spec, tenant, history: &**history }.all().await;
            }
        });
        if done.await.is_some() { ReplayEnd::Done } else { ReplayEnd::Stopped }
    }
}

/// A replay that runs.
struct Sending<'a> {
    control: &'a Control,
    run: &'a RunningJob,
    spec: &'a HistoryReplay,
    tenant: &'a Arc<TenantSnapshot>,
    history: &'a dyn History,
}

impl Sending<'_> {
    async fn all(&self) {
        let handled = self.run.progress().position.handled;
        let mut throttle = Throttle::new(Some(self.spec.rate));
        let first = match handled {
            Some((accepted_at, _)) => accepted_at,
            None => self.until_done(|| self.first()).await.unwrap_or(self.spec.until),
        };
        let mut began = first / DAY_MS * DAY_MS;
        while began < self.spec.until {
            let mut found = self.until_done(|| self.found(began, began + DAY_MS)).await;
            found.retain(|one| handled.is_none_or(|handled| (one.accepted_at, one.id) > handled));
            for some in found.chunks(self.window()) {
                self.send_some(some, &mut throttle).await;
            }
            began += DAY_MS;
        }
    }

    /// The acceptance of the oldest that is meant. Days that have nothing are passed over at once.
    async fn first(&self) -> Result<Option<u64>, HistoryError> {
        if self.spec.since > 0 {
            return Ok(Some(self.spec.since));
        }
        let kept = self.history.kept().await?.oldest_day;
        Ok(kept.and_then(|day| schemas::time::unix_ms(&format!("{day}T00:00:00Z"))))
    }

    /// What is meant of a day, the oldest first. To another endpoint, each part of an event goes once.
    async fn found(&self, began: u64, ended: u64) -> Result<Vec<Found>, HistoryError> {
        let filter = self.spec.filter(scope_of(self.tenant), began, ended);
        let (mut page, mut all) = (PageRequest { filter, limit: MAX_PAGE, after: None }, Vec::new());
        loop {
            let found = self.history.deliveries(&page).await?;
            all.extend(found.items.into_iter().map(|item| Found {
                accepted_at: item.accepted_at,
                id: item.id,
                is_waiting: item.state == DeliveryState::Waiting,
                endpoint_id: item.endpoint_id,
                event_id: item.event_id,
                part: item.part,
            }));
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        all.sort_unstable_by_key(|one| (one.accepted_at, one.id));
        if let Some(to) = &self.spec.to_endpoint_id {
            let has_it = all.iter().filter(|one| one.endpoint_id == *to);
            let mut sent: HashSet<_> = has_it.map(|one| (one.event_id.clone(), one.part.clone())).collect();
            all.retain(|one| sent.insert((one.event_id.clone(), one.part.clone())));
        }
        Ok(all)
    }

    /// Number of deliveries after which it is stored how far the replay is: about a second's, so that a slow one repeats few
    /// after a crash.
    fn window(&self) -> usize {
        f64::from(self.spec.rate).ceil().clamp(1.0, WINDOW as f64) as usize
    }

    /// Sends some at the replay's rate, and stores how far the replay is: after a crash no others than these are sent again.
    async fn send_some(&self, some: &[Found], throttle: &mut Throttle) {
        let broker = &*self.control.deps.broker;
        let dead_until = self.until_done(|| broker.end(Log::Dead)).await;
        let resend = Resend {
            control: self.control,
            tenant: self.tenant,
            history: self.history,
            replay: self.run.job.id.clone(),
            dead_until,
        };
        let (mut under_way, mut ends) = (FuturesUnordered::new(), Vec::with_capacity(some.len()));
        for one in some {
            let mut turn = pin!(throttle.wait());
            loop {
                tokio::select! {
                    () = &mut turn => break,
                    Some(end) = under_way.next() => ends.push(end),
                }
            }
            under_way.push(self.send(&resend, one));
        }
        while let Some(end) = under_way.next().await {
            ends.push(end);
        }
        let mut progress = self.run.progress();
        let sent = ends.iter().filter(|end| **end == End::Sent).count() as u64;
        progress.replayed += sent;
        progress.skipped += ends.len() as u64 - sent;
        let handled = some.last().map(|last| (last.accepted_at, last.id));
        let (replayed, skipped) = (progress.replayed, progress.skipped);
        progress.position = ReplayPosition { replayed, skipped, handled, ..progress.position };
        let stored = || {
            let progress = JobProgress {
                id: self.run.job.id.clone(),
                position: progress.position.text(),
                done: replayed,
                skipped,
            };
            async {
                match self.control.control_state() {
                    Ok(state) => state.record_progress(vec![progress]).await,
                    Err(error) => Err(error),
                }
            }
        };
        self.until_done(stored).await;
        self.run.note(progress.clone());
        self.run.note_stored(progress);
    }

    async fn send(&self, resend: &Resend<'_>, one: &Found) -> End {
        let to = self.spec.to_endpoint_id.as_deref();
        if one.is_waiting && to.is_none() {
            return End::Skipped;
        }
        let now = (self.control.deps.clock)();
        if one.accepted_at < ShownSince::of(self.tenant, now).bodies {
            return End::Skipped;
        }
        let scope = scope_of(self.tenant);
        loop {
            let sent = match self.history.delivery(&scope, one.id).await {
                Ok(Some(story)) => resend.send(&story, to).await.map(|_| End::Sent),
                Ok(None) => Ok(End::Skipped),
                Err(error) => Err(error.into()),
            };
            match sent {
                Ok(end) => return end,
                Err(ResendError::History(_) | ResendError::Log(_)) => sleep(RETRY).await,
                Err(ResendError::NotPublished(error)) if error != PublishError::TooLarge => sleep(RETRY).await,
                Err(_) => return End::Skipped,
            }
        }
    }

    /// Repeats a call until it is answered.
    async fn until_done<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(&self, call: impl Fn() -> F) -> T {
        let mut has_failed = false;
        loop {
            match call().await {
                Ok(done) => return done,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, replay_id = self.run.job.id, "replay.interrupted");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }
}
