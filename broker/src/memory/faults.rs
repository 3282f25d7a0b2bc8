//! The faults that a test can inject.

use std::{collections::BTreeMap, time::Duration};

use super::Memory;
use crate::ConnectionState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishFault {
    /// The message is taken, and its confirm gets lost.
    LoseConfirm,
    Nack,
}

#[derive(Default)]
pub(super) struct Faults {
    published: u64,
    planned: BTreeMap<u64, PublishFault>,
    latency: Duration,
    /// Bytes of the largest body that is taken.
    pub(super) largest: Option<usize>,
    /// True when the lanes cannot be looked into, as on RabbitMQ.
    pub(super) hidden: bool,
}

impl Faults {
    /// Counts a publish. Returns its fault, and the delay of its confirm.
    pub(super) fn next(&mut self) -> (Option<PublishFault>, Duration) {
        self.published += 1;
        (self.planned.remove(&self.published), self.latency)
    }

    fn plan(&mut self, nth: u64, fault: PublishFault) {
        self.planned.insert(self.published + nth, fault);
    }
}

impl Memory {
    /// The `nth` publish from now (1: the next) is taken, but no confirm comes.
    pub fn lose_confirm(&self, nth: u64) {
        self.shared.lock().faults.plan(nth, PublishFault::LoseConfirm);
    }

    /// The `nth` publish from now (1: the next) is refused.
    pub fn nack_confirm(&self, nth: u64) {
        self.shared.lock().faults.plan(nth, PublishFault::Nack);
    }

    /// From now on no larger body is taken, as by a RabbitMQ with a smaller `max_message_size`.
    pub fn take_at_most(&self, bytes: usize) {
        self.shared.lock().faults.largest = Some(bytes);
    }

    /// Every confirm comes this much later than its message is taken.
    pub fn delay_confirms(&self, by: Duration) {
        self.shared.lock().faults.latency = by;
    }

    /// From now on the lanes cannot be looked into, as on RabbitMQ.
    pub fn hide_lanes(&self) {
        self.shared.lock().faults.hidden = true;
    }

    /// Takes no publishes until [`unblock`](Self::unblock); consuming goes on, as under an alarm of RabbitMQ.
    pub fn block(&self, reason: &str) {
        self.shared.connection.send_replace(ConnectionState::Blocked(reason.into()));
    }

    pub fn unblock(&self) {
        self.shared.connection.send_replace(ConnectionState::Ready);
    }

    /// Loses the connection: unsettled messages are handed out again, and settling them only frees the prefetch.
    pub fn go_away(&self, reason: &str) {
        self.shared.connection.send_replace(ConnectionState::Away(reason.into()));
        self.shared.lose_session();
    }

    pub fn come_back(&self) {
        self.shared.connection.send_replace(ConnectionState::Ready);
        self.shared.change(|_| ());
    }
}
