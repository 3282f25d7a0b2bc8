//! The gate of a deliverer: which delivery may be attempted now, which waits a moment, which is put aside, and which is
//! one too many. All state is this process's, and as large as the endpoints are that were lately posted to.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use schemas::{BreakerChange, Endpoint, time::rfc3339};
use service::Clock;

use super::{
    breaker::{Change, Phase},
    door::{Answer, Door, Knock},
    doors::Doors,
    effect::Ended,
    fairness::Crowd,
    pass::Pass,
    standing::{Arrival, LINGER, Why},
    suspicion::is_greedy,
    terms::Division,
};
use crate::config::BreakerConfig;

/// News that wait to be told; more are not told, which costs others a few probes.
const MOST_NEWS: usize = 10_000;

/// The gate of a deliverer.
pub(crate) struct Gate {
    doors: Mutex<Doors>,
    crowd: Crowd,
    clock: Clock,
    division: Mutex<Division>,
    /// Deliveries that wait before doors.
    waiting: AtomicU32,
    room: Room,
    news: Mutex<Vec<BreakerChange>>,
}

/// How many may wait in the process for a place. One endpoint that is all there is may go beyond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// For one endpoint.
    pub(crate) each: u32,
    /// For all of them.
    pub(crate) all: u32,
}

/// A delivery that wants to go out.
#[derive(Clone, Copy)]
pub(crate) struct Knocking<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) endpoint: &'a Arc<Endpoint>,
    /// It comes back from a wait.
    pub(crate) has_waited: bool,
    /// It came on the fast lane.
    pub(crate) is_on_fast: bool,
    /// Whether most fast slots are taken.
    pub(crate) is_scarce: bool,
}

/// What a delivery may do.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Attempt now.
    Pass(Pass),
    /// Come back then, unix ms.
    Park { until: u64, why: Why },
    /// Go to the slow lane.
    Elsewhere,
    /// End.
    Overflow,
}

impl Gate {
    pub(crate) fn new(clock: Clock, room: Room, breaker: BreakerConfig) -> Arc<Self> {
        Arc::new(Self {
            doors: Mutex::new(Doors::new(breaker)),
            crowd: Crowd::default(),
            clock,
            division: Mutex::new(Division { count: 1, by: 1 }),
            waiting: AtomicU32::new(0),
            room,
            news: Mutex::default(),
        })
    }

    /// What a delivery may do; waits for at most some two seconds.
    pub(crate) async fn admit(self: &Arc<Self>, knocking: Knocking<'_>) -> Admission {
        let door = self.door(knocking.tenant, &knocking.endpoint.id);
        let mut may_wait = true;
        loop {
            let pass = match self.knock(&door, knocking, may_wait) {
                Answer::Enter(pass) => pass,
                Answer::Wait(place) => {
                    let _waits = Waits::before(self);
                    match tokio::time::timeout(Duration::from_millis(2 * LINGER as u64), place).await {
                        Ok(Ok(pass)) => pass,
                        // The door was shut meanwhile.
                        Ok(Err(_)) => continue,
                        Err(_) => {
                            may_wait = false;
                            continue;
                        }
                    }
                }
                Answer::Park { until, why } => return Admission::Park { until, why },
                Answer::Elsewhere => return Admission::Elsewhere,
                Answer::Overflow => return Admission::Overflow,
            };
            let early = pass.at.saturating_sub(self.now());
            if early > 0 {
                tokio::time::sleep(Duration::from_millis(early)).await;
            }
            return Admission::Pass(pass);
        }
    }

    fn knock(self: &Arc<Self>, door: &Arc<Door>, knocking: Knocking<'_>, may_wait: bool) -> Answer {
        let Knocking { endpoint, has_waited, is_on_fast, is_scarce, .. } = knocking;
        if is_on_fast && self.crowd.is_crowded_by(&door.tenant, is_scarce) {
            return Answer::Elsewhere;
        }
        let has_room = may_wait && self.has_room(door.waiting());
        let all = self.crowd.under_way();
        door.knock(
            self,
            Knock {
                endpoint,
                arrival: Arrival { has_waited, has_room },
                division: self.division(),
                is_on_fast,
                is_greedy: &|own| is_greedy(own, all, is_scarce),
                now: self.now(),
            },
        )
    }

    /// Whether one more may wait before a door where so many wait already. An endpoint for which most of them wait is not
    /// bound by its room: how long the others wait for those is bound by how fast they go, and to put each of them aside
    /// would cost more than to post it.
    fn has_room(&self, before: u32) -> bool {
        let all = self.waiting.load(Relaxed);
        (all < self.room.all && before < self.room.each) || before >= all / 2
    }

    /// The door to an endpoint.
    pub(crate) fn door(&self, tenant: &str, endpoint: &str) -> Arc<Door> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).of(tenant, endpoint, self.now())
    }

    /// All doors, to be looked at.
    pub(crate) fn doors(&self) -> Vec<Arc<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Among how many the work is divided from now on.
    pub(crate) fn divide(&self, division: Division) {
        *self.division.lock().unwrap_or_else(PoisonError::into_inner) = division;
    }

    /// Another process speaks of an endpoint's breaker.
    pub(crate) fn hear(&self, news: &BreakerChange) {
        let change = match news.open_until {
            Some(until) => Change::Opened { until, consecutive_opens: news.consecutive_opens },
            None => Change::Closed,
        };
        let now = self.now();
        self.door(&news.tenant, &news.endpoint_id).hear(change, now);
    }

    /// What others should know of breakers, each once.
    pub(crate) fn take_news(&self) -> Vec<BreakerChange> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) fn ended(self: &Arc<Self>, door: &Arc<Door>, ended: Ended, now: u64, chance: f64) {
        let Some(change) = door.ended(self, ended, self.division(), now, chance) else { return };
        let (open_until, consecutive_opens) = match change {
            Change::Opened { until, consecutive_opens } => (Some(until), consecutive_opens),
            Change::Closed => (None, 0),
        };
        let (tenant, endpoint_id) = (door.tenant_id.clone(), door.endpoint_id.clone());
        let until = open_until.map(rfc3339);
        let state = if until.is_some() { "open" } else { "closed" };
        tracing::info!(tenant, endpoint_id, state, open_until = until, consecutive_opens, "breaker.changed");
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.len() < MOST_NEWS {
            news.push(BreakerChange { tenant, endpoint_id, open_until, consecutive_opens });
        }
    }

    pub(super) fn abandoned(self: &Arc<Self>, door: &Arc<Door>, was_probe: bool) {
        door.abandoned(self, was_probe, self.division(), self.now());
    }

    fn division(&self) -> Division {
        *self.division.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// Held by one who waits before a door.
struct Waits<'a>(&'a Gate);

impl<'a> Waits<'a> {
    fn before(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Relaxed);
        Self(gate)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// How many endpoints are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) closed: i64,
    pub(crate) open: i64,
    pub(crate) half_open: i64,
    pub(crate) suspect: i64,
}

impl Census {
    /// Of these.
    pub(crate) fn of(doors: &[Arc<Door>], now: u64) -> Self {
        let mut census = Self::default();
        for door in doors {
            let (phase, is_suspect) = door.with(|standing| (standing.phase(), standing.is_suspect(now)));
            *match (phase, is_suspect) {
                (Phase::Open, _) => &mut census.open,
                (Phase::HalfOpen, _) => &mut census.half_open,
                (Phase::Closed, true) => &mut census.suspect,
                (Phase::Closed, false) => &mut census.closed,
            } += 1;
        }
        census
    }
}
