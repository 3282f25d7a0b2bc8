//! The share of an endpoint's limits that one process may use. All deliverers together keep to the limits, without a
//! lock service: each divides them by the number of deliverers that announce themselves. Pure.

use std::collections::HashMap;

use schemas::Endpoint;

use super::{rate::gap_ms, uptime::Uptime};

/// Deliveries that return to all deliverers in a second, on average, before it is known whether their endpoints bear them: a
/// deferral costs a publish and a confirm, and a small machine that runs everything does some 4,000 of them in a second.
const RETURNS_PER_SECOND: f64 = 1_500.0;
/// Ms from the end of an attempt until its outcome is known here.
const REPORTING_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) current: Allowance,
    /// What may be used once all deliverers know of each other. Reservations are spaced by it, because a newcomer's
    /// first share would space them too widely.
    pub(super) settled: Allowance,
    /// Largest number of this process' deferred deliveries and retries that wait in the broker.
    pub(super) max_backlog: u64,
    /// Ms between two deferred deliveries to the endpoint that return to this process before it knows whether the endpoint
    /// bears them.
    pub(super) return_gap_ms: f64,
    /// Ms after which an attempt has surely ended.
    pub(super) attempt_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allowance {
    /// Requests in flight. A number below one means one request for that part of the time.
    pub(super) in_flight: f64,
    /// Ms between two starts by the configured rate, 0 without one.
    pub(super) gap_ms: f64,
}

impl Share {
    /// `return_part` is what one endpoint may have of all returns to this process.
    pub(super) fn of(endpoint: &Endpoint, deliverers: DelivererCount, return_part: f64) -> Self {
        let allowance = |count: u32| Allowance {
            in_flight: f64::from(endpoint.max_in_flight) / f64::from(count),
            gap_ms: endpoint.rate_limit.map_or(0.0, |limit| gap_ms(limit.per_second / f64::from(count))),
        };
        Self {
            current: allowance(deliverers.assumed),
            settled: allowance(deliverers.known),
            // A delivery beyond the backlog becomes a dead letter, so a newcomer takes its whole part at once.
            max_backlog: (endpoint.max_backlog / u64::from(deliverers.known)).max(1),
            return_gap_ms: f64::from(deliverers.known) * 1_000.0 / RETURNS_PER_SECOND / return_part,
            attempt_ms: endpoint.timeout.millis().saturating_add(REPORTING_MS),
        }
    }

    /// True if a backlog has no room for a delivery. One that has waited belongs to it already.
    pub(super) fn overflows(&self, backlog: u64, has_waited: bool) -> bool {
        !has_waited && backlog >= self.max_backlog
    }

    /// True while this process uses less than its part, until it has heard of all deliverers.
    pub(super) fn is_newcomers(&self) -> bool {
        self.current.in_flight < self.settled.in_flight
    }
}

impl Allowance {
    /// Ms between two starts of requests that take `round_trip_ms`. An allowance below one request in flight spaces
    /// them further than the rate does.
    pub(super) fn start_gap_ms(&self, round_trip_ms: f64) -> f64 {
        if self.in_flight < 1.0 { self.gap_ms.max(round_trip_ms / self.in_flight) } else { self.gap_ms }
    }
}

/// The largest part of all returns that one endpoint may have, if its equals get as much and those that want less get what
/// they want. One that is alone may have all. Parts are in 0..=1.
pub(super) fn return_part(mut wanted: Vec<f64>) -> f64 {
    wanted.sort_unstable_by(f64::total_cmp);
    let (mut left, mut endpoints) = (1.0, wanted.len());
    for part in wanted {
        if part * endpoints as f64 > left {
            return left / endpoints as f64;
        }
        left -= part;
        endpoints -= 1;
    }
    1.0
}

/// How many deliverers share the work, this one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DelivererCount {
    /// Deliverers that this process has heard of.
    pub(crate) known: u32,
    /// Number that limits are divided by: larger than `known` until this process has heard of all deliverers.
    pub(crate) assumed: u32,
}

/// Ms between two announcements of a deliverer.
pub(crate) const HEARTBEAT_MS: u64 = 1_000;
/// Ms of silence after which a deliverer counts as gone: two announcements may get lost.
const SILENT_MS: u64 = 3_500;
/// Least number of deliverers that a newcomer assumes, until it has heard all others and they have heard it.
const NEWCOMER_ASSUMES: u32 = 16;
const MAX_PEERS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Peers {
    own: String,
    /// Time of each deliverer's last announcement.
    last_heard: HashMap<String, Uptime>,
    /// Time at which this process first heard its own announcement; the others have heard it, too.
    own_heard_at: Option<Uptime>,
}

impl Peers {
    pub(crate) fn new(own: impl Into<String>) -> Self {
        Self { own: own.into(), ..Self::default() }
    }

    pub(crate) fn note(&mut self, process: &str, leaves: bool, now: Uptime) {
        if process == self.own {
            self.own_heard_at.get_or_insert(now);
        }
        if leaves {
            self.last_heard.remove(process);
        } else if let Some(at) = self.last_heard.get_mut(process) {
            *at = now;
        } else if self.last_heard.len() < MAX_PEERS {
            self.last_heard.insert(process.to_owned(), now);
        }
    }

    /// Keeps everybody counted at a time when announcements cannot arrive, because the broker is away or takes none. All
    /// deliverers go on then, so each still has its own share only.
    pub(crate) fn keep_all(&mut self, now: Uptime) {
        self.last_heard.values_mut().for_each(|at| *at = now);
    }

    pub(crate) fn count(&mut self, now: Uptime) -> DelivererCount {
        self.last_heard.retain(|_, at| *at + SILENT_MS > now);
        let others = self.last_heard.keys().filter(|process| **process != self.own).count();
        let known = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        // Within a heartbeat and a quarter every deliverer has announced itself.
        let all_were_heard = self.own_heard_at.is_some_and(|at| now >= at + HEARTBEAT_MS + HEARTBEAT_MS / 4);
        DelivererCount { known, assumed: if all_were_heard { known } else { known.max(NEWCOMER_ASSUMES) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Uptime = Uptime::of_ms(1_000);

    #[test]
    fn shares_add_up_to_what_is_allowed_and_may_be_below_one() {
        let endpoint: Endpoint = serde_json::from_value(serde_json::json!({
            "id": "crm", "url": "https://crm.example", "rate_limit": {"per_second": 10}, "max_in_flight": 2,
            "max_backlog": 1000,
        }))
        .unwrap();
        let share = |known, assumed| Share::of(&endpoint, DelivererCount { known, assumed }, 1.0);
        let alone = share(1, 1);
        assert_eq!((alone.current, alone.max_backlog), (Allowance { in_flight: 2.0, gap_ms: 102.0 }, 1_000));
        let fourth = share(4, 4);
        assert_eq!((fourth.current, fourth.max_backlog), (Allowance { in_flight: 0.5, gap_ms: 408.0 }, 250));
        assert_eq!(fourth.current.start_gap_ms(100.0), 408.0);
        assert_eq!(fourth.current.start_gap_ms(1_000.0), 2_000.0, "half of the time one request");
        let newcomer = share(4, 16);
        assert_eq!((newcomer.current.gap_ms, newcomer.settled.start_gap_ms(100.0)), (1_632.0, 408.0));
        assert_eq!(newcomer.max_backlog, 250);
    }

    #[test]
    fn a_newcomer_takes_the_smallest_share_until_all_have_heard_of_each_other() {
        let mut peers = Peers::new("new");
        assert_eq!(peers.count(NOW).assumed, 16);
        peers.note("old", false, NOW + 500);
        assert_eq!(peers.count(NOW + 60_000).assumed, 16, "its own was never heard: it may not be connected");
        peers.note("new", false, NOW + 60_000);
        peers.note("old", false, NOW + 60_100);
        peers.note("older", false, NOW + 60_900);
        assert_eq!(peers.count(NOW + 61_000), DelivererCount { known: 3, assumed: 16 });
        assert_eq!(peers.count(NOW + 61_250), DelivererCount { known: 3, assumed: 3 });
    }

    #[test]
    fn deliverers_stay_counted_while_no_announcement_can_arrive_and_for_a_while_afterwards() {
        let mut peers = Peers::new("own");
        ["own", "a", "b"].into_iter().for_each(|process| peers.note(process, false, NOW));
        let hour = 3_600_000;
        (0..=hour).step_by(250).for_each(|ms| peers.keep_all(NOW + ms));
        assert_eq!(peers.count(NOW + hour + 3_000).assumed, 3);
        peers.note("a", false, NOW + hour + 3_400);
        assert_eq!(peers.count(NOW + hour + 3_500).assumed, 2, "b has gone meanwhile");
    }

    #[test]
    fn a_deliverer_that_leaves_or_falls_silent_is_counted_no_more() {
        let mut peers = Peers::new("own");
        for process in ["own", "a", "b"] {
            peers.note(process, false, NOW);
        }
        peers.note("a", true, NOW + 100);
        assert_eq!(peers.count(NOW + 2_000).assumed, 2);
        peers.note("own", false, NOW + 3_000);
        assert_eq!(peers.count(NOW + 3_500).assumed, 1);
        assert_eq!(peers.count(NOW + 60_000).known, 1, "this process itself is always counted");
    }

    #[test]
    fn endpoints_share_the_returns_and_one_with_few_gets_what_it_wants() {
        for (wanted, part) in [
            (vec![], 1.0),
            (vec![1.0], 1.0),
            (vec![0.25, 0.25], 1.0),
            (vec![1.0; 10], 0.1),
            (vec![1.0, 0.1, 1.0, 0.1], 0.4),
            (vec![0.001; 10_000], 0.0001),
        ] {
            assert!((return_part(wanted.clone()) - part).abs() < 1e-9, "{part}");
        }
    }
}
