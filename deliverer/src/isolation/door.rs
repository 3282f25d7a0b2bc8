//! The door to one endpoint: who may go in, who waits before it, and who is inside. It keeps the queue; what is decided
//! is `Standing`'s. The lock is never held across an await.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::Endpoint;
use tokio::sync::oneshot;

use super::{
    breaker::{Change, Phase},
    effect::Ended,
    fairness::Tenant,
    gate::Gate,
    pass::Pass,
    standing::{Arrival, Decision, Standing, Why},
    terms::{Division, Terms},
};
use crate::config::BreakerConfig;

/// The door to one endpoint.
#[derive(Debug)]
pub(crate) struct Door {
    pub(super) tenant_id: String,
    pub(super) endpoint_id: String,
    pub(super) tenant: Tenant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    standing: Standing,
    queue: VecDeque<oneshot::Sender<Pass>>,
    /// The version of the endpoint that the standing is of.
    endpoint: Option<Arc<Endpoint>>,
}

/// What one who knocks is told.
pub(super) enum Answer {
    Enter(Pass),
    Wait(oneshot::Receiver<Pass>),
    Park {
        until: u64,
        why: Why,
    },
    Overflow,
    /// On the slow lane, please.
    Elsewhere,
}

/// Somebody knocks.
#[derive(Clone, Copy)]
pub(super) struct Knock<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) arrival: Arrival,
    pub(super) division: Division,
    /// It came on the fast lane, where suspects have no business.
    pub(super) is_on_fast: bool,
    /// Whether an endpoint with so many places is one too many.
    pub(super) is_greedy: &'a (dyn Fn(u32) -> bool + Sync),
    pub(super) now: u64,
}

impl Door {
    pub(super) fn new(tenant_id: &str, endpoint_id: &str, tenant: Tenant, breaker: BreakerConfig) -> Self {
        let (tenant_id, endpoint_id) = (tenant_id.to_owned(), endpoint_id.to_owned());
        let state = Mutex::new(State { standing: Standing::new(breaker), ..State::default() });
        Self { tenant_id, endpoint_id, tenant, state }
    }

    pub(super) fn knock(self: &Arc<Self>, gate: &Arc<Gate>, knock: Knock<'_>) -> Answer {
        let Knock { endpoint, arrival, now, .. } = knock;
        let state = &mut *self.state();
        state.look_at(endpoint);
        if (knock.is_greedy)(state.standing.under_way) {
            state.standing.arouse(now);
        }
        // What is down is parked from any lane: one publish, not two.
        let is_up = state.standing.phase() == Phase::Closed;
        if knock.is_on_fast && is_up && state.standing.is_suspect(now) {
            return Answer::Elsewhere;
        }
        match state.standing.admit(arrival, &Terms::of(endpoint, knock.division), now) {
            Decision::Start { at, is_probe } => Answer::Enter(Pass::new(gate, self, at, is_probe)),
            Decision::Queue => {
                let (place, waiting) = oneshot::channel();
                state.queue.push_back(place);
                Answer::Wait(waiting)
            }
            Decision::Park { until, why } => Answer::Park { until, why },
            Decision::Overflow => Answer::Overflow,
        }
    }

    /// One inside has come out; who is next goes in.
    pub(super) fn ended(
        self: &Arc<Self>,
        gate: &Arc<Gate>,
        ended: Ended,
        division: Division,
        now: u64,
        chance: f64,
    ) -> Option<Change> {
        let state = &mut *self.state();
        let endpoint = state.endpoint.clone()?;
        let terms = Terms::of(&endpoint, division);
        let change = state.standing.ended(ended, &terms, now, chance);
        state.follow(change);
        self.let_in(state, gate, &terms, now);
        change
    }

    /// One inside has vanished.
    pub(super) fn abandoned(self: &Arc<Self>, gate: &Arc<Gate>, was_probe: bool, division: Division, now: u64) {
        let state = &mut *self.state();
        state.standing.abandoned(was_probe, now);
        if let Some(endpoint) = state.endpoint.clone() {
            self.let_in(state, gate, &Terms::of(&endpoint, division), now);
        }
    }

    /// Another process speaks of its breaker.
    pub(super) fn hear(&self, change: Change, now: u64) -> bool {
        let state = &mut *self.state();
        let is_news = state.standing.hear(change, now);
        if is_news {
            state.follow(Some(change));
        }
        is_news
    }

    /// How many wait before it.
    pub(super) fn waiting(&self) -> u32 {
        self.state().standing.queued
    }

    /// Looks at what is known, and notes what is not.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Standing) -> T) -> T {
        look(&mut self.state().standing)
    }

    fn let_in(self: &Arc<Self>, state: &mut State, gate: &Arc<Gate>, terms: &Terms, now: u64) {
        while let Some(at) = state.standing.grant(terms, now) {
            let Some(next) = state.queue.pop_front() else { break };
            if let Err(pass) = next.send(Pass::new(gate, self, at, false)) {
                // Nobody waits there any more. Dropped as it is, it would want the lock that is held here.
                pass.void();
                state.standing.abandoned(false, now);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An endpoint that was changed may have been mended.
    fn look_at(&mut self, endpoint: &Arc<Endpoint>) {
        if self.endpoint.as_ref().is_some_and(|known| Arc::ptr_eq(known, endpoint)) {
            return;
        }
        if self.endpoint.as_ref().is_some_and(|known| known != endpoint) {
            self.standing.forgive();
        }
        self.endpoint = Some(endpoint.clone());
    }

    /// Nobody waits before a door that is shut: they ask again, and are told when to come back.
    fn follow(&mut self, change: Option<Change>) {
        if let Some(Change::Opened { .. }) = change {
            self.queue.clear();
            self.standing.queued = 0;
        }
    }
}
