//! The heartbeat of a deliverer. A few times a second it announces itself and its breaker changes, applies those of
//! other deliverers, cuts requests short where slots are scarce, and sets gauges.

use std::{sync::Arc, time::Duration};

use broker::{ConnectionState, Notices};
use schemas::{BreakerChange, EndpointState, Notice, wire::PACKED_VERSION};
use service::ClockWatch;
use store::Snapshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    Deliverer,
    health::HealthAnnouncer,
    limits::{BreakerState, HEARTBEAT_MS, Peers, Uptime},
};

/// Time between two ticks, and longest delay of a breaker change's announcement.
const TICK: Duration = Duration::from_millis(250);
const ANNOUNCEMENT_TICKS: u64 = HEARTBEAT_MS / TICK.as_millis() as u64;
/// Ticks between two counts of all endpoints: ten seconds.
const COUNT_TICKS: u64 = 10 * ANNOUNCEMENT_TICKS;
/// Largest number of breaker changes in one notice: some 50 kB of JSON.
const MAX_CHANGES: usize = 500;

pub(crate) struct DelivererHeartbeat {
    deliverer: Arc<Deliverer>,
    peers: Peers,
    stopped: StoppedEndpoints,
    health: HealthAnnouncer,
    clock_watch: ClockWatch,
}

impl DelivererHeartbeat {
    pub(crate) fn new(deliverer: Arc<Deliverer>) -> Self {
        let peers = Peers::new(deliverer.deps.outbox.process());
        let (stopped, health, clock_watch) = Default::default();
        Self { deliverer, peers, stopped, health, clock_watch }
    }

    /// Runs until it is dropped, or the broker ends `notices`.
    pub(crate) async fn run(mut self, mut notices: Notices) {
        let mut interval = interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u64;
        loop {
            tokio::select! {
                notice = notices.next() => match notice {
                    Some(notice) => self.handle_notice(&notice),
                    None => return,
                },
                _ = interval.tick() => {
                    self.tick(ticks);
                    ticks += 1;
                }
            }
        }
    }

    fn handle_notice(&mut self, notice: &[u8]) {
        let Deliverer { deps, limiter, canaries, erased, .. } = &*self.deliverer;
        match Notice::read(notice) {
            Some(Notice::Deliverer { process, leaves, .. }) => {
                let now = limiter.now();
                self.peers.note(&process, leaves, now);
                limiter.set_deliverers(self.peers.count(now));
            }
            Some(Notice::Breakers { process, changes }) if process != deps.outbox.process() => {
                changes.iter().for_each(|change| limiter.apply_announced(change));
            }
            Some(Notice::Endpoints { process, failing, recovered, .. }) if process != deps.outbox.process() => {
                self.health.heard(&self.deliverer, &failing, recovered);
            }
            Some(Notice::Hello) => self.health.ask(),
            Some(Notice::Erased { tenant, event_ids }) => erased.note(&tenant, event_ids, Instant::now()),
            Some(Notice::Intake { open }) => canaries.pause(!open),
            _ => {}
        }
    }

    fn tick(&mut self, tick: u64) {
        let Deliverer { deps, limiter, poster, reporter, .. } = &*self.deliverer;
        let metrics = &reporter.metrics;
        let now = limiter.now();
        if tick.is_multiple_of(ANNOUNCEMENT_TICKS) {
            announce_presence(&self.deliverer, false);
            limiter.divide_returns();
            self.health.announce(&self.deliverer, tick.is_multiple_of(COUNT_TICKS));
        }
        if *deps.broker.connection_state().borrow() != ConnectionState::Ready {
            self.peers.keep_all(now);
        }
        // Due times follow the clock of the machine: when it goes ahead, deferred deliveries return sooner than reserved.
        let step = self.clock_watch.look(self.deliverer.now(), Instant::now());
        if let Some(step) = step.filter(|step| step.is_forward) {
            limiter.endpoints().iter().for_each(|endpoint| endpoint.advance_reservations(step.by_ms));
        }
        let deliverers = self.peers.count(now);
        limiter.set_deliverers(deliverers);
        metrics.deliverers.set(deliverers.known.into());
        metrics.timeouts_shortened.inc_by(poster.slots.shorten(now) as u64);
        self.announce_breakers(&limiter.take_breaker_changes());
        self.set_load_gauges();
        if tick.is_multiple_of(COUNT_TICKS) {
            self.count_endpoints(now);
        }
    }

    fn announce_breakers(&self, changes: &[BreakerChange]) {
        let Deliverer { deps, reporter, .. } = &*self.deliverer;
        for change in changes {
            let to = if change.open_until.is_some() { "open" } else { "closed" };
            reporter.metrics.breaker_changes.with_label_values(&[to]).inc();
        }
        for changes in changes.chunks(MAX_CHANGES) {
            let process = deps.outbox.process().to_owned();
            deps.broker.announce(Notice::Breakers { process, changes: changes.to_vec() }.write().into());
        }
    }

    fn set_load_gauges(&self) {
        let Deliverer { limiter, poster, reporter, .. } = &*self.deliverer;
        let metrics = &reporter.metrics;
        for ((used, limit), stage) in poster.slots.in_use().into_iter().zip(["fast", "slow"]) {
            metrics.slots_in_use.with_label_values(&[stage]).set(used);
            metrics.slots_limit.with_label_values(&[stage]).set(limit);
        }
        metrics.in_flight_bytes.set(i64::try_from(limiter.bytes_in_hand()).unwrap_or(i64::MAX));
    }

    fn count_endpoints(&mut self, now: Uptime) {
        let Deliverer { deps, limiter, reporter, .. } = &*self.deliverer;
        let (mut closed, mut open, mut half_open, mut degraded) = (0, 0, 0, 0);
        for endpoint in limiter.endpoints() {
            let (breaker, is_degraded) = endpoint.with(|state| (state.breaker(), state.is_degraded(now)));
            *match breaker {
                BreakerState::Open { .. } => &mut open,
                BreakerState::HalfOpen { .. } => &mut half_open,
                BreakerState::Closed if is_degraded => &mut degraded,
                BreakerState::Closed => &mut closed,
            } += 1;
        }
        if let Some(snapshot) = deps.store.snapshot() {
            self.stopped.count(&snapshot);
        }
        for (state, count) in [
            ("closed", closed),
            ("open", open),
            ("half_open", half_open),
            ("degraded", degraded),
            ("disabled", self.stopped.disabled),
            ("paused", self.stopped.paused),
        ] {
            reporter.metrics.endpoints.with_label_values(&[state]).set(count);
        }
    }
}

pub(crate) fn announce_presence(Deliverer { deps, canaries, .. }: &Deliverer, leaves: bool) {
    let (process, canaries) = (deps.outbox.process().to_owned(), canaries.latest());
    deps.broker.announce(Notice::Deliverer { process, leaves, canaries, reads_packed: PACKED_VERSION }.write().into());
}

/// The endpoints that get nothing, counted anew only when the snapshot has changed.
#[derive(Debug, Default)]
struct StoppedEndpoints {
    revision: u64,
    disabled: i64,
    paused: i64,
}

impl StoppedEndpoints {
    fn count(&mut self, snapshot: &Snapshot) {
        if self.revision == snapshot.revision() {
            return;
        }
        *self = Self { revision: snapshot.revision(), ..Self::default() };
        for endpoint in snapshot.tenants().flat_map(|tenant| tenant.endpoints.values()) {
            match endpoint.state {
                EndpointState::Active => {}
                EndpointState::Disabled => self.disabled += 1,
                EndpointState::Paused => self.paused += 1,
            }
        }
    }
}
