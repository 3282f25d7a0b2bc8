//! What each tenant has in hand of each lane, and whether that is more than its share of the lane's prefetch.
//!
//! A lane hands out its messages in their order. When one tenant's messages fill the prefetch, those of others behind
//! them are not even seen, so the last part of a lane is for tenants within their share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use broker::{Lane, Prefetch};

use super::{
    rate::{Reservations, Window},
    uptime::{Uptime, UptimeClock},
};

/// Ms for which a tenant that has nothing in hand any more still counts. What it has waiting in a lane cannot be seen.
const SEEN_MS: u64 = 10_000;
/// Ms between two sweeps of tenants that count no more.
const SWEEP_MS: u64 = 1_000;
/// Part of a lane that is for anyone, in percent, and a smaller one for new deliveries of a tenant while others of it
/// return.
const FOR_ANYONE: u128 = 75;
const FOR_NEW: u128 = 65;
/// Shortest deferral, in ms, and assumed ms that a delivery stays in hand.
const MIN_DEFERRAL_MS: u64 = 1_000;
const ASSUMED_MS: f64 = 1_000.0;
/// Shortest window, in ms, in which deferred deliveries return. Others may be gone by then.
const RETURN_WINDOW_MS: f64 = 30_000.0;
/// Weight of the last delivery in the average time that a delivery stays in hand.
const WEIGHT: f64 = 0.05;

/// The messages in hand: handed out, and not settled yet.
pub(super) struct InHand {
    /// The prefetch of each lane.
    prefetch: Prefetch,
    clock: UptimeClock,
    locked: Mutex<Amounts>,
}

/// One message in hand, which its drop ends.
pub(crate) struct HeldMessage {
    in_hand: Arc<InHand>,
    tenant: Arc<str>,
    lane: Lane,
    bytes: usize,
    since: Uptime,
    is_attempted: AtomicBool,
}

#[derive(Default)]
struct Amounts {
    lanes: [Amount; Lane::ALL.len()],
    /// The tenants that have something in hand, or had until lately.
    tenants: HashMap<Arc<str>, TenantInHand>,
    swept_at: Uptime,
}

#[derive(Default)]
struct TenantInHand {
    lanes: [Amount; Lane::ALL.len()],
    seen_at: Uptime,
    /// Average ms that an attempted delivery stays in hand of the slow lane.
    held_ms: Option<f64>,
    /// Spaces the returns of deliveries that were deferred from the slow lane.
    returns: Reservations,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    messages: usize,
    bytes: usize,
}

impl InHand {
    pub(super) fn new(prefetch: Prefetch, clock: UptimeClock) -> Arc<Self> {
        Arc::new(Self { prefetch, clock, locked: Mutex::default() })
    }

    pub(super) fn hold(self: &Arc<Self>, lane: Lane, tenant: &str, bytes: usize) -> HeldMessage {
        let since = self.clock.now();
        let tenant = self.amounts().add(lane, tenant, bytes, since);
        HeldMessage { in_hand: self.clone(), tenant, lane, bytes, since, is_attempted: AtomicBool::new(false) }
    }

    /// Bytes of both lanes.
    pub(super) fn bytes(&self) -> usize {
        self.amounts().lanes.iter().map(|lane| lane.bytes).sum()
    }

    fn amounts(&self) -> MutexGuard<'_, Amounts> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldMessage {
    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(super) fn is_on_fast(&self) -> bool {
        self.lane == Lane::Fast
    }

    pub(super) fn attempted(&self) {
        self.is_attempted.store(true, Relaxed);
    }

    /// True when no other tenant has something in hand or had until lately.
    pub(super) fn is_alone(&self) -> bool {
        self.in_hand.amounts().tenants.len() <= 1
    }

    pub(super) fn is_beyond_share(&self, has_waited: bool) -> bool {
        let InHand { prefetch, clock, .. } = &*self.in_hand;
        self.in_hand.amounts().is_beyond_share(self.lane, &self.tenant, has_waited, *prefetch, clock.now())
    }

    /// Time at which the message, deferred from the slow lane, should find the tenant within its share. Deferrals must not
    /// cost more than one in `least_gap_ms`.
    pub(super) fn return_at(&self, least_gap_ms: f64) -> Uptime {
        let now = self.in_hand.clock.now();
        self.in_hand.amounts().return_at(&self.tenant, least_gap_ms, now)
    }
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        let now = self.in_hand.clock.now();
        let held_ms = self.is_attempted.load(Relaxed).then(|| now.ms_since(self.since));
        self.in_hand.amounts().remove(self.lane, &self.tenant, self.bytes, held_ms, now);
    }
}

impl Amounts {
    fn add(&mut self, lane: Lane, tenant: &str, bytes: usize, now: Uptime) -> Arc<str> {
        if self.swept_at + SWEEP_MS <= now {
            self.swept_at = now;
            self.tenants.retain(|_, tenant| tenant.counts(now));
        }
        let name = self.tenants.get_key_value(tenant).map_or_else(|| tenant.into(), |(name, _)| Arc::clone(name));
        let held = self.tenants.entry(Arc::clone(&name)).or_default();
        held.seen_at = now;
        for amount in [&mut self.lanes[lane as usize], &mut held.lanes[lane as usize]] {
            amount.messages += 1;
            amount.bytes += bytes;
        }
        name
    }

    fn remove(&mut self, lane: Lane, tenant: &str, bytes: usize, held_ms: Option<u64>, now: Uptime) {
        let Some(held) = self.tenants.get_mut(tenant) else { return };
        held.seen_at = now;
        if let (Lane::Slow, Some(ms)) = (lane, held_ms) {
            let ms = ms as f64;
            held.held_ms = Some(held.held_ms.map_or(ms, |average| average + WEIGHT * (ms - average)));
        }
        for amount in [&mut self.lanes[lane as usize], &mut held.lanes[lane as usize]] {
            amount.messages -= 1;
            amount.bytes -= bytes;
        }
    }

    /// Whether a tenant has more than its share of a lane of which most is in hand. A tenant that is alone may have all
    /// of the slow lane. On the fast lane one more tenant is counted, because nobody's first attempt should find the lane
    /// full, and the slow lane takes what is beyond the share. One message is never too much.
    fn is_beyond_share(&self, lane: Lane, tenant: &str, has_waited: bool, prefetch: Prefetch, now: Uptime) -> bool {
        let (Some(tenant), all) = (self.tenants.get(tenant), self.lanes[lane as usize]) else { return false };
        let own = tenant.lanes[lane as usize];
        let tenants = match lane {
            Lane::Fast => self.tenants.len().max(2),
            Lane::Slow => self.tenants.len(),
        };
        if tenants <= 1 || own.messages <= 1 {
            return false;
        }
        let yields = lane == Lane::Slow && !has_waited && tenant.returns.reach_beyond(now + MIN_DEFERRAL_MS);
        let percent = if yields { FOR_NEW } else { FOR_ANYONE };
        let is_beyond =
            |all: usize, own: usize, limit: usize| all as u128 * 100 > limit as u128 * percent && own > limit / tenants;
        // RabbitMQ's prefetch counts messages and grows by doubling, so half of the bytes may already fill it.
        let bytes = prefetch.bytes / 2;
        is_beyond(all.messages, own.messages, prefetch.messages.into()) || is_beyond(all.bytes, own.bytes, bytes)
    }

    /// The tenant's deferred deliveries return as fast as its deliveries in hand are done, and within a window, because
    /// what they wait for may be over soon.
    fn return_at(&mut self, tenant: &str, least_gap_ms: f64, now: Uptime) -> Uptime {
        let earliest = now + MIN_DEFERRAL_MS;
        let Some(tenant) = self.tenants.get_mut(tenant) else { return earliest };
        let own = tenant.lanes[Lane::Slow as usize].messages.max(1);
        let length_ms = RETURN_WINDOW_MS.max(tenant.returns.backlog(now) as f64 * least_gap_ms);
        let gap_ms = tenant.held_ms.unwrap_or(ASSUMED_MS) / own as f64;
        let at = tenant.returns.reserve(Window { first: earliest, length_ms }, gap_ms);
        tenant.returns.count(at, now);
        at
    }
}

impl TenantInHand {
    fn counts(&self, now: Uptime) -> bool {
        self.lanes.iter().any(|lane| lane.messages > 0) || self.seen_at + SEEN_MS > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Uptime = Uptime::of_ms(60_000);
    const PREFETCH: Prefetch = Prefetch { messages: 100, bytes: 2_000 };

    fn add(amounts: &mut Amounts, lane: Lane, tenant: &str, messages: usize, bytes: usize) {
        (0..messages).for_each(|_| _ = amounts.add(lane, tenant, bytes, START));
    }

    fn is_beyond(amounts: &Amounts, lane: Lane, tenant: &str) -> bool {
        amounts.is_beyond_share(lane, tenant, false, PREFETCH, START)
    }

    /// Exchanges a message for another one.
    fn exchange_one(amounts: &mut Amounts, tenant: &str, bytes: usize, now: Uptime) {
        amounts.remove(Lane::Slow, tenant, bytes, None, now);
        amounts.add(Lane::Slow, tenant, bytes, now);
    }

    #[test]
    fn a_tenant_that_is_alone_may_have_all_of_the_slow_lane_and_three_quarters_of_the_fast_one() {
        for (messages, bytes) in [(75, 0), (15, 50)] {
            let mut amounts = Amounts::default();
            add(&mut amounts, Lane::Slow, "large", messages, bytes);
            add(&mut amounts, Lane::Fast, "large", messages, bytes);
            assert!(!is_beyond(&amounts, Lane::Fast, "large"), "three quarters are free for anyone");
            add(&mut amounts, Lane::Slow, "large", messages, bytes);
            add(&mut amounts, Lane::Fast, "large", 1, bytes);
            assert!(is_beyond(&amounts, Lane::Fast, "large") && !is_beyond(&amounts, Lane::Slow, "large"));
        }
    }

    #[test]
    fn a_tenant_beyond_its_share_is_stopped_while_others_are_seen() {
        for (messages, bytes) in [(80, 0), (16, 50)] {
            let mut amounts = Amounts::default();
            add(&mut amounts, Lane::Slow, "large", messages, bytes);
            assert!(!is_beyond(&amounts, Lane::Slow, "large"));
            add(&mut amounts, Lane::Fast, "small", 1, bytes);
            assert!(is_beyond(&amounts, Lane::Slow, "large"), "what the other has in this lane may not be seen yet");
            add(&mut amounts, Lane::Slow, "small", 2, bytes);
            assert!(!is_beyond(&amounts, Lane::Slow, "small"));
            for lane in [Lane::Fast, Lane::Slow, Lane::Slow] {
                amounts.remove(lane, "small", bytes, None, START);
            }
            let mut later = |ms| {
                exchange_one(&mut amounts, "large", bytes, START + ms);
                amounts.is_beyond_share(Lane::Slow, "large", true, PREFETCH, START + ms)
            };
            assert!(later(SEEN_MS - 1) && !later(SEEN_MS + SWEEP_MS));
        }
    }

    #[test]
    fn one_message_is_never_too_much_however_large_it_is() {
        let mut amounts = Amounts::default();
        add(&mut amounts, Lane::Fast, "small", 1, 10);
        add(&mut amounts, Lane::Fast, "large", 1, 5_000);
        assert!(!is_beyond(&amounts, Lane::Fast, "large"));
        add(&mut amounts, Lane::Fast, "large", 1, 1);
        assert!(is_beyond(&amounts, Lane::Fast, "large"));
    }

    #[test]
    fn a_tenant_that_was_not_seen_for_a_while_is_forgotten() {
        let mut amounts = Amounts::default();
        for number in 0..100 {
            amounts.add(Lane::Fast, &number.to_string(), 1, START);
        }
        for number in 1..100 {
            amounts.remove(Lane::Fast, &number.to_string(), 1, None, START);
        }
        amounts.add(Lane::Fast, "new", 1, START + SEEN_MS);
        assert_eq!(amounts.tenants.len(), 2, "one still has something in hand");
        assert_eq!((amounts.lanes[0].messages, amounts.lanes[0].bytes), (2, 2));
    }

    #[test]
    fn what_a_tenant_has_beyond_its_share_returns_as_fast_as_the_rest_is_done_and_before_what_is_new() {
        let mut amounts = Amounts::default();
        add(&mut amounts, Lane::Fast, "small", 1, 0);
        add(&mut amounts, Lane::Slow, "large", 70, 0);
        assert!(!is_beyond(&amounts, Lane::Slow, "large"));
        amounts.add(Lane::Slow, "large", 0, START);
        amounts.remove(Lane::Slow, "large", 0, Some(7_000), START);
        let returns: Vec<_> = (0..3).map(|_| amounts.return_at("large", 0.25, START).ms_since(START)).collect();
        assert_eq!(returns, [1_000, 1_100, 1_200], "70 of them take 7 s");
        assert!(is_beyond(&amounts, Lane::Slow, "large"), "what is new yields");
        assert!(!amounts.is_beyond_share(Lane::Slow, "large", true, PREFETCH, START));
    }

    #[test]
    fn what_a_tenant_has_beyond_its_share_returns_soon_however_much_it_is() {
        let mut amounts = Amounts::default();
        amounts.add(Lane::Slow, "large", 0, START);
        let mut longest = |count| (0..count).map(|_| amounts.return_at("large", 1.0, START).ms_since(START)).max();
        assert_eq!(longest(20_000), Some(31_000), "each is done in a second");
        assert!(longest(80_000) > Some(60_000) && longest(1_000) <= Some(120_000), "one in a ms at most");
    }
}
