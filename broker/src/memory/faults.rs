//! What a test can make go wrong.

use std::{collections::BTreeMap, time::Duration};

use super::Memory;
use crate::ConnectionState;

/// What happens to one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is taken, and its confirm gets lost.
    Lose,
    /// It is refused.
    Nack,
}

/// The faults to come.
#[derive(Default)]
pub(super) struct Faults {
    published: u64,
    planned: BTreeMap<u64, Fault>,
    latency: Duration,
    /// Nobody can look into the lanes.
    pub(super) hidden: bool,
}

impl Faults {
    /// Counts a publish, and says what goes wrong with it.
    pub(super) fn next(&mut self) -> (Option<Fault>, Duration) {
        self.published += 1;
        (self.planned.remove(&self.published), self.latency)
    }

    fn plan(&mut self, nth: u64, fault: Fault) {
        self.planned.insert(self.published + nth, fault);
    }
}

impl Memory {
    /// The `nth` publish from now (1: the next) is taken, but its publisher is told that no confirm came.
    pub fn lose_confirm(&self, nth: u64) {
        self.shared.lock().faults.plan(nth, Fault::Lose);
    }

    /// The `nth` publish from now (1: the next) is refused.
    pub fn nack_confirm(&self, nth: u64) {
        self.shared.lock().faults.plan(nth, Fault::Nack);
    }

    /// Every confirm comes this much later than its message is taken.
    pub fn delay_confirms(&self, by: Duration) {
        self.shared.lock().faults.latency = by;
    }

    /// From now on nobody can look into the lanes, as on RabbitMQ.
    pub fn hide_lanes(&self) {
        self.shared.lock().faults.hidden = true;
    }

    /// Takes no publishes until [`unblock`](Self::unblock); consuming goes on, as under an alarm of RabbitMQ.
    pub fn block(&self, reason: &str) {
        self.shared.link.send_replace(ConnectionState::Blocked(reason.into()));
    }

    /// Takes publishes again.
    pub fn unblock(&self) {
        self.shared.link.send_replace(ConnectionState::Ready);
    }

    /// Loses the connection: what is handed out will be handed out again, and settling it has no effect but to give
    /// its prefetch back.
    pub fn go_away(&self, reason: &str) {
        self.shared.link.send_replace(ConnectionState::Away(reason.into()));
        self.shared.change(super::state::State::lose_session);
    }

    /// Connects again.
    pub fn come_back(&self) {
        self.shared.link.send_replace(ConnectionState::Ready);
        self.shared.change(|_| ());
    }
}
