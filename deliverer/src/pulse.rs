//! What a deliverer does now and then beside delivering: it tells the others that it is there and which breakers changed,
//! hears the same of them, cuts requests short where slots are scarce, and takes a census.

use std::{sync::Arc, time::Duration};

use broker::Notices;
use schemas::{BreakerChange, Notice};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Deliverer,
    census::Disabled,
    limits::{HEARTBEAT_MS, Peers},
};

/// How often it looks: what others should know waits for no longer.
const PULSE: Duration = Duration::from_millis(250);
/// A beat is so many pulses,
const PULSES: u64 = HEARTBEAT_MS / PULSE.as_millis() as u64;
/// and a census, which looks at each endpoint, comes every ten seconds.
const CENSUS: u64 = 10 * PULSES;
/// Breakers in one notice: some 50 kB of JSON.
const TOGETHER: usize = 500;

impl Deliverer {
    /// Tells, hears and tends, until it is dropped.
    pub(crate) async fn pulse(self: Arc<Self>, mut notices: Notices) {
        let mut peers = Peers::new(self.deps.outbox.process());
        let mut ticks = interval(PULSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pulses, mut disabled) = (0_u64, Disabled::default());
        loop {
            tokio::select! {
                notice = notices.next() => match notice {
                    Some(notice) => self.hear(&notice, &mut peers),
                    None => return,
                },
                _ = ticks.tick() => {
                    self.tend(&mut peers, pulses);
                    if pulses.is_multiple_of(CENSUS) {
                        self.take_census(&mut disabled);
                    }
                    pulses += 1;
                }
            }
        }
    }

    /// Says that it is there no more.
    pub(crate) fn say_goodbye(&self) {
        let process = self.deps.outbox.process().to_owned();
        self.announce(&Notice::Deliverer { process, leaves: true });
    }

    fn hear(&self, notice: &[u8], peers: &mut Peers) {
        match Notice::read(notice) {
            Some(Notice::Deliverer { process, leaves }) => {
                peers.hear(&process, leaves, self.now());
                self.limiter.set_deliverers(peers.count(self.now()));
            }
            Some(Notice::Breakers { process, changes }) if process != self.deps.outbox.process() => {
                changes.iter().for_each(|change| self.limiter.hear(change));
            }
            Some(Notice::Intake { open }) => self.canaries.hold(!open),
            _ => {}
        }
    }

    fn tend(&self, peers: &mut Peers, pulses: u64) {
        if pulses.is_multiple_of(PULSES) {
            let process = self.deps.outbox.process().to_owned();
            self.announce(&Notice::Deliverer { process, leaves: false });
        }
        let count = peers.count(self.now());
        self.limiter.set_deliverers(count);
        self.reporter.metrics.deliverers.set(count.known.into());
        let cut = self.poster.slots.shorten(self.now());
        self.reporter.metrics.timeouts_shortened.inc_by(cut as u64);
        self.tell(&self.limiter.take_breaker_changes());
        self.gauge();
    }

    fn tell(&self, news: &[BreakerChange]) {
        for change in news {
            let to = if change.open_until.is_some() { "open" } else { "closed" };
            self.reporter.metrics.breaker_changes.with_label_values(&[to]).inc();
        }
        for changes in news.chunks(TOGETHER) {
            let process = self.deps.outbox.process().to_owned();
            self.announce(&Notice::Breakers { process, changes: changes.to_vec() });
        }
    }

    fn gauge(&self) {
        for ((used, limit), stage) in self.poster.slots.in_use().into_iter().zip(["fast", "slow"]) {
            self.reporter.metrics.slots_in_use.with_label_values(&[stage]).set(used);
            self.reporter.metrics.slots_limit.with_label_values(&[stage]).set(limit);
        }
        self.reporter.metrics.in_flight_bytes.set(self.poster.bytes_in_flight());
    }

    fn announce(&self, notice: &Notice) {
        self.deps.broker.announce(notice.write().into());
    }
}
