//! The topology as data: every exchange, queue and binding of version 1. Only here their names are spelt.

use std::fmt;

use serde::Serialize;

use super::entities::{Argument, DeclaredBinding, DeclaredExchange, DeclaredQueue, Routing};
use crate::{
    BrokerConfig, Lane, Log, LogBytes, Queue,
    rabbitmq::{delays::LEVELS, error::MAX_LENGTH_BYTES},
};

/// The key of a parked delivery that is over its delivery limit: `<reason>.<tenant>`, with the tenant in the headers.
/// Before RabbitMQ 3.13 only this key tells it from a delivery that woke without a route
/// (docs/rabbitmq.md#a-stream-keeps-only-the-first-death).
pub(in crate::rabbitmq) const DELIVERY_LIMIT_KEY: &str = "delivery_limit.-";
/// A stream is trimmed by whole segments, so with the default of 500 MB a quiet one would exceed its age for months
/// (docs/rabbitmq.md#a-stream-is-trimmed-by-segments).
const SEGMENT_BYTES: i64 = 50_000_000;
/// Age of the oldest dead letters and parked messages.
const LOG_AGE: &str = "30D";
/// Bytes of history records on their way to control, which usually takes them within a second.
const HISTORY_BYTES: u64 = 2_000_000_000;
/// Age of the oldest history records. They hold what people wrote, so they do not wait long for a control that is away.
const HISTORY_AGE: &str = "1D";

#[derive(Clone, Debug)]
pub(in crate::rabbitmq) struct Names {
    prefix: String,
    /// The public exchange.
    pub(in crate::rabbitmq) events: String,
}

impl Names {
    pub(in crate::rabbitmq) fn new(config: &BrokerConfig) -> Self {
        Self { prefix: format!("{}.v1", config.prefix), events: config.exchange.clone() }
    }

    pub(in crate::rabbitmq) fn of(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }

    pub(in crate::rabbitmq) fn queue(&self, queue: Queue) -> String {
        match queue {
            Queue::Ingest => self.of("ingest"),
            // The queue has the name of its exchange.
            Queue::IngestSlow => self.of("ingest.slow"),
            Queue::Lane(lane) => self.of(&format!("deliver.{}", lane.name())),
        }
    }

    /// The name of a log's exchange and of its stream.
    pub(in crate::rabbitmq) fn log(&self, log: Log) -> String {
        self.of(log.name())
    }

    /// The name of the exchange and of the stream of history records.
    pub(in crate::rabbitmq) fn history(&self) -> String {
        self.of("history")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Each exchange comes after its alternate exchange, so they can be declared in this order.
    pub exchanges: Vec<DeclaredExchange>,
    pub queues: Vec<DeclaredQueue>,
    pub bindings: Vec<DeclaredBinding>,
}

impl Topology {
    pub fn plan(config: &BrokerConfig) -> Self {
        let names = Names::new(config);
        Self { exchanges: exchanges(&names), queues: queues(&names, config.log_bytes()), bindings: bindings(&names) }
    }
}

fn exchanges(names: &Names) -> Vec<DeclaredExchange> {
    let park = names.log(Log::Parked);
    let exchange =
        |name: String, kind, alternate: Option<&String>| DeclaredExchange { name, kind, alternate: alternate.cloned() };
    vec![
        exchange(park.clone(), Routing::Topic, None),
        exchange(names.log(Log::Dead), Routing::Topic, None),
        exchange(names.history(), Routing::Topic, None),
        exchange(names.events.clone(), Routing::Topic, Some(&park)),
        exchange(names.queue(Queue::IngestSlow), Routing::Topic, Some(&park)),
        exchange(names.of("deliver"), Routing::Topic, Some(&park)),
        exchange(names.of("delay"), Routing::Topic, Some(&park)),
        // Without an alternate exchange, 32 unroutable messages would stop a whole delay level:
        // docs/rabbitmq.md#unroutable-dead-letters-stop-a-queue
        exchange(names.of("wake"), Routing::Topic, Some(&park)),
        exchange(names.of("control"), Routing::Fanout, None),
        // Without an alternate exchange, so that a mandatory message without a route is really returned.
        exchange(names.of("canary"), Routing::Direct, None),
    ]
}

fn queues(names: &Names, logs: LogBytes) -> Vec<DeclaredQueue> {
    let park = names.log(Log::Parked);
    let lane = |lane| {
        let mut queue = quorum(names, Queue::Lane(lane), &park);
        queue.arguments.push(("x-dead-letter-routing-key", text(DELIVERY_LIMIT_KEY)));
        queue
    };
    let mut queues = vec![
        stream(park.clone(), logs.parked, LOG_AGE),
        stream(names.log(Log::Dead), logs.dead, LOG_AGE),
        stream(names.history(), HISTORY_BYTES, HISTORY_AGE),
        // A parked event keeps its key, which names its tenant.
        quorum(names, Queue::Ingest, &park),
        quorum(names, Queue::IngestSlow, &park),
        lane(Lane::Fast),
        lane(Lane::Slow),
    ];
    // Without a dead-letter routing key: the message keeps its own, `<level>.<lane>`, which tells the lane.
    queues.extend(LEVELS.iter().map(|level| {
        let ttl = i64::try_from(level.ms).unwrap_or(i64::MAX);
        let mut arguments = vec![("x-queue-type", text("quorum")), ("x-message-ttl", Argument::Int(ttl))];
        arguments.extend(dead_lettering(&names.of("wake")));
        DeclaredQueue { name: names.of(&format!("delay.{}", level.name)), arguments }
    }));
    queues.push(DeclaredQueue {
        name: names.of("canary"),
        arguments: vec![
            ("x-queue-type", text("quorum")),
            ("x-message-ttl", Argument::Int(60_000)),
            ("x-max-length", Argument::Int(100)),
            ("x-overflow", text("drop-head")),
        ],
    });
    queues
}

fn quorum(names: &Names, queue: Queue, dead_letters: &str) -> DeclaredQueue {
    let limit = Argument::Int(queue.delivery_limit().into());
    let mut arguments = vec![("x-queue-type", text("quorum")), ("x-delivery-limit", limit)];
    arguments.extend(dead_lettering(dead_letters));
    DeclaredQueue { name: names.queue(queue), arguments }
}

/// The arguments of at-least-once dead-lettering. Without `reject-publish` the broker silently falls back to at most once
/// (docs/rabbitmq.md#at-least-once-dead-lettering), and a queue that is dead-lettered to must have no length limit
/// (docs/rabbitmq.md#a-length-limit-on-a-dead-letter-target).
fn dead_lettering(to: &str) -> [(&'static str, Argument); 3] {
    [
        ("x-dead-letter-exchange", text(to)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

fn stream(name: String, bytes: u64, age: &str) -> DeclaredQueue {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let arguments = vec![
        ("x-queue-type", text("stream")),
        ("x-max-age", text(age)),
        (MAX_LENGTH_BYTES, Argument::Int(bytes)),
        ("x-stream-max-segment-size-bytes", Argument::Int(SEGMENT_BYTES)),
    ];
    DeclaredQueue { name, arguments }
}

fn bindings(names: &Names) -> Vec<DeclaredBinding> {
    let binding =
        |from: &str, to: String, key: &str| DeclaredBinding { from: from.to_owned(), to, key: key.to_owned() };
    let (park, dead) = (names.log(Log::Parked), names.log(Log::Dead));
    let mut bindings = vec![
        binding(&park, park.clone(), "#"),
        binding(&dead, dead.clone(), "#"),
        binding(&names.history(), names.history(), "#"),
        binding(&names.events, names.queue(Queue::Ingest), "#"),
        binding(&names.queue(Queue::IngestSlow), names.queue(Queue::IngestSlow), "#"),
        binding(&names.of("canary"), names.of("canary"), "canary"),
    ];
    for lane in [Lane::Fast, Lane::Slow] {
        let queue = names.queue(Queue::Lane(lane));
        bindings.push(binding(&names.of("deliver"), queue.clone(), lane.name()));
        bindings.push(binding(&names.of("wake"), queue, &format!("*.{}", lane.name())));
    }
    for level in &LEVELS {
        let queue = names.of(&format!("delay.{}", level.name));
        bindings.push(binding(&names.of("delay"), queue, &format!("{}.#", level.name)));
    }
    bindings
}

fn text(value: &str) -> Argument {
    Argument::Text(value.to_owned())
}

impl fmt::Display for Topology {
    /// Writes one entity a line, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exchanges.iter().try_for_each(|exchange| writeln!(f, "{exchange}"))?;
        self.queues.iter().try_for_each(|queue| writeln!(f, "{queue}"))?;
        self.bindings.iter().try_for_each(|binding| writeln!(f, "{binding}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Topology {
        Topology::plan(&BrokerConfig {
            url: String::new(),
            prefix: "carteiro".to_owned(),
            exchange: "ticketing.events".to_owned(),
            declare: true,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        })
    }

    fn argument<'a>(queue: &'a DeclaredQueue, name: &str) -> Option<&'a Argument> {
        queue.arguments.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn there_are_twenty_two_queues_and_streams_for_any_number_of_tenants() {
        assert_eq!(plan().queues.len(), 22);
    }

    #[test]
    fn every_dead_lettering_queue_does_so_at_least_once_to_an_exchange_that_loses_nothing() {
        let plan = plan();
        for queue in plan.queues.iter().filter(|queue| argument(queue, "x-dead-letter-exchange").is_some()) {
            assert_eq!(argument(queue, "x-dead-letter-strategy"), Some(&text("at-least-once")), "{}", queue.name);
            assert_eq!(argument(queue, "x-overflow"), Some(&text("reject-publish")), "{}", queue.name);
            let keeps_its_key = argument(queue, "x-dead-letter-routing-key").is_none();
            assert!(keeps_its_key || queue.name.contains(".deliver."), "the key tells the lane: {}", queue.name);
            let Some(Argument::Text(target)) = argument(queue, "x-dead-letter-exchange") else { panic!("no target") };
            let target = plan.exchanges.iter().find(|known| known.name == *target).expect("a declared target");
            let takes_all = plan.bindings.iter().any(|binding| binding.from == target.name && binding.key == "#");
            assert!(target.alternate.is_some() || takes_all, "{} could block {}", target.name, queue.name);
        }
    }

    #[test]
    fn no_target_of_dead_lettering_has_a_length_limit_that_could_refuse() {
        let plan = plan();
        for queue in plan.queues.iter().filter(|queue| argument(queue, "x-overflow") == Some(&text("reject-publish"))) {
            for limit in ["x-max-length", "x-max-length-bytes"] {
                assert_eq!(argument(queue, limit), None, "{}", queue.name);
            }
        }
    }

    #[test]
    fn every_exchange_is_declared_after_the_one_it_names() {
        let plan = plan();
        for (place, exchange) in plan.exchanges.iter().enumerate() {
            let Some(alternate) = &exchange.alternate else { continue };
            assert!(plan.exchanges[..place].iter().any(|earlier| earlier.name == *alternate), "{}", exchange.name);
        }
    }

    #[test]
    fn the_plan_reads_one_entity_a_line() {
        let printed = plan().to_string();
        assert!(printed.contains("exchange carteiro.v1.wake topic alternate=carteiro.v1.park\n"));
        assert!(printed.contains("binding carteiro.v1.wake -> carteiro.v1.deliver.slow *.slow\n"));
        assert!(printed.contains(
            "queue carteiro.v1.delay.5m queue-type=quorum message-ttl=300000 dead-letter-exchange=carteiro.v1.wake"
        ));
    }
}
