//! One canary: which way it goes, when it should come, and how that is written on a message. Pure.

use broker::{Due, Lane, Target};
use schemas::{HeaderValue, Headers, Message, wire};

/// One of the ways that canaries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Its name in metrics and on messages: a lane's, or a delay's into the slow lane.
    pub(super) name: &'static str,
    lane: Lane,
    /// How long it waits, in ms; none: it goes straight into the lane.
    wait: Option<u64>,
}

impl Level {
    /// The lanes, and the delays of RabbitMQ's ladder up to five minutes: each wait is exactly one of them, so that this
    /// one carries it. Longer ones would say only in hours that they do not arrive; they are made of the same stuff.
    pub(super) const ALL: [Self; 10] = [
        Self { name: "fast", lane: Lane::Fast, wait: None },
        Self { name: "slow", lane: Lane::Slow, wait: None },
        Self::delay("1s", 1),
        Self::delay("2s", 2),
        Self::delay("5s", 5),
        Self::delay("10s", 10),
        Self::delay("30s", 30),
        Self::delay("1m", 60),
        Self::delay("2m", 120),
        Self::delay("5m", 300),
    ];

    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    const fn delay(name: &'static str, seconds: u64) -> Self {
        Self { name, lane: Lane::Slow, wait: Some(seconds * 1_000) }
    }
}

/// A canary that is to come, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canary {
    pub(super) level: Level,
    /// When it should come, unix ms.
    pub(super) due: u64,
}

/// It says that it is one, but not of which level, or not since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Canary {
    /// The nth that a process sends.
    pub(super) fn of_turn(turn: usize, now: u64) -> Self {
        let level = Level::ALL[turn % Level::ALL.len()];
        Self { level, due: now + level.wait.unwrap_or(0) }
    }

    /// Where it is published.
    pub(super) fn target(&self) -> Target {
        let due = self.level.wait.map(|_| Due { at: self.due, exact: true });
        Target::Lane(self.level.lane, due)
    }

    /// What is published.
    pub(super) fn message(&self) -> Message {
        let began = self.due - self.level.wait.unwrap_or(0);
        let mut headers = Headers::default();
        headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
        headers.set(wire::CANARY, HeaderValue::Text(self.level.name.into()));
        headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(began).unwrap_or(i64::MAX)));
        Message { id: "canary".to_owned(), kind: "canary".to_owned(), headers, ..Message::default() }
    }

    /// What a message says; none, if it is no canary.
    pub(super) fn read(message: &Message) -> Option<Result<Self, Unreadable>> {
        let headers = &message.headers;
        let Some(name) = headers.text(wire::CANARY) else {
            return headers.int(wire::CANARY).map(|_| Err(Unreadable));
        };
        let level = Level::ALL.into_iter().find(|level| level.name == name);
        let since = headers.int(wire::ACCEPTED_AT).and_then(|at| u64::try_from(at).ok());
        Some(level.zip(since).ok_or(Unreadable).map(|(level, since)| {
            let due = since.saturating_add(level.wait.unwrap_or(0));
            Self { level, due }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use broker::{
        BrokerConfig,
        rabbitmq::{Argument, Topology},
    };

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn a_turn_has_each_level_once_and_then_begins_anew() {
        let turn = |from: usize| (from..from + 10).map(|turn| Canary::of_turn(turn, NOW).level.name);
        assert_eq!(turn(0).collect::<BTreeSet<_>>().len(), 10);
        assert!(turn(0).eq(turn(10)));
    }

    #[test]
    fn a_canary_that_comes_says_what_was_sent() {
        for turn in 0..10 {
            let canary = Canary::of_turn(turn, NOW);
            assert_eq!(Canary::read(&canary.message()), Some(Ok(canary)));
        }
    }

    #[test]
    fn what_is_no_canary_is_none_and_what_cannot_be_read_is_still_one() {
        assert_eq!(Canary::read(&Message::default()), None);
        let odd = |change: fn(&mut Headers)| {
            let mut message = Canary::of_turn(3, NOW).message();
            change(&mut message.headers);
            Canary::read(&message)
        };
        assert_eq!(odd(|headers| headers.set(wire::CANARY, HeaderValue::Text("7y".into()))), Some(Err(Unreadable)));
        assert_eq!(odd(|headers| headers.set(wire::CANARY, HeaderValue::Int(7))), Some(Err(Unreadable)));
        assert_eq!(odd(|headers| headers.set(wire::ACCEPTED_AT, HeaderValue::Int(-1))), Some(Err(Unreadable)));
        assert_eq!(odd(|headers| headers.remove(wire::ACCEPTED_AT)), Some(Err(Unreadable)));
    }

    #[test]
    fn each_delay_of_rabbitmq_up_to_five_minutes_has_its_canaries() {
        let plan = Topology::plan(&BrokerConfig {
            url: String::new(),
            prefix: "p".to_owned(),
            exchange: "e".to_owned(),
            declare: false,
        });
        let ttl = |arguments: &[(&str, Argument)]| match arguments.iter().find(|(name, _)| *name == "x-message-ttl")? {
            (_, Argument::Int(ttl)) => u64::try_from(*ttl).ok(),
            _ => None,
        };
        let planned = plan.queues.iter().filter_map(|queue| {
            let name = queue.name.strip_prefix("p.v1.delay.")?;
            Some((name, ttl(&queue.arguments)?)).filter(|(_, ttl)| *ttl <= 300_000)
        });
        let sent = Level::ALL.iter().filter_map(|level| Some((level.name, level.wait?)));
        assert_eq!(planned.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
    }
}
