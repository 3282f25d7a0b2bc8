//! Probes: small messages that show which bindings are there. AMQP lists none, and behind an alternate exchange nothing is
//! returned (docs/rabbitmq.md#a-binding-shows-by-what-goes-through-it).
//!
//! A probe is published as what the binding is for, and expires at once. The queue that got it dead-letters it into the log
//! of parked messages, or a consumer takes it and says so there; without the binding the alternate exchange puts it there as
//! it is. In that log a probe is a marker, which no reader shows. No role sees it, and nothing counts it.

use std::time::Duration;

use futures_util::{StreamExt, stream::SelectAll};
use lapin::{
    Channel, Confirmation,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    declare,
    entities::DeclaredBinding,
    plan::{Names, Topology},
};
use crate::{
    Log,
    rabbitmq::{
        connect::BrokerConnection,
        error::{TopologyError, describe, describe_without, refusal},
        message::{self, MARKER_KEY, PROBE_TAKEN_KEY, ReceivedMessage, marker_properties, probe_properties},
    },
};

/// Longest wait for a confirm, and for what probes show. The shortest delay level is a second; the rest is for a busy
/// broker.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// Longest time that all probes together take, which only a connection without answers reaches.
const LONGEST_ROUND: Duration = Duration::from_secs(60);
/// Records of a log that the broker sends ahead.
const PREFETCH: u16 = 200;
const ACK_STEP: usize = PREFETCH as usize / 2;
const NO_CONFIRM: &str = "the broker confirms nothing for now (an alarm, or a queue without its majority)";

/// What shows that a binding is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// The probe is not returned: the exchange has no alternate, and nothing else is bound to it.
    NoReturn,
    /// The probe comes into the log that the binding is for. Others may be bound to its exchange.
    Record,
    /// The probe leaves the queue again. Needed where other queues may be bound to the exchange, and for the shortest delay
    /// level, which shows that dead-lettering works.
    Passage,
    /// The alternate exchange did not park it. Enough where nothing else is bound, and known at once: in a queue where
    /// others wait a probe leaves late.
    NotParked,
}

/// What came into a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// As it was published.
    Unchanged,
    /// From the queue that had it, or by a consumer's word.
    Passed,
}

struct Probe<'a> {
    binding: &'a DeclaredBinding,
    evidence: Evidence,
    marker: i64,
    is_there: Option<bool>,
}

/// Sends a probe through each of these bindings, and returns those that are missing, do not work or could not be checked.
/// `first` numbers the probes.
pub(super) async fn probe(
    connection: &BrokerConnection,
    names: &Names,
    bindings: &[DeclaredBinding],
    first: i64,
) -> Result<Vec<TopologyError>, TopologyError> {
    let round = timeout(LONGEST_ROUND, probe_all(connection, names, bindings, first)).await;
    round.unwrap_or_else(|_| Err(TopologyError::Away(format!("no answer within {LONGEST_ROUND:?}"))))
}

async fn probe_all(
    connection: &BrokerConnection,
    names: &Names,
    bindings: &[DeclaredBinding],
    first: i64,
) -> Result<Vec<TopologyError>, TopologyError> {
    let mut round = Round {
        connection,
        names,
        arrivals: SelectAll::new(),
        probes: Vec::new(),
        found: Vec::new(),
        has_listened: false,
    };
    let park = names.log(Log::Parked);
    if let Err(error) = round.follow(&park).await {
        return Ok(vec![unchecked("the bindings".to_owned(), "read", &error)?]);
    }
    // Without its own binding the log shows nothing, and what is dead-lettered into it would stay in the queues' workers, of
    // which each stops at 32 (docs/rabbitmq.md#unroutable-dead-letters-stop-a-queue).
    let (of_park, mut others): (Vec<_>, Vec<_>) = bindings.iter().partition(|binding| binding.to == park);
    let mut markers = first..;
    let all_sent = round.send(of_park.iter().copied(), &mut markers).await?;
    if !all_sent || round.probes.iter().any(|probe| probe.is_there == Some(false)) || !round.found.is_empty() {
        let detail = format!("they show only while {park} is bound");
        round.conclude().await?;
        round.found.push(TopologyError::Unchecked { entity: "the other bindings".to_owned(), detail });
        return Ok(round.found);
    }
    let is_dead = |binding: &&DeclaredBinding| binding.to == names.log(Log::Dead);
    if others.iter().any(is_dead)
        && let Err(error) = round.follow(&names.log(Log::Dead)).await
    {
        round.found.push(unchecked("the log of dead letters".to_owned(), "read", &error)?);
        // What comes into that log is not seen.
        others.retain(|binding| !is_dead(binding));
    }
    if round.send(others.into_iter(), &mut markers).await? {
        round.listen(&mut markers).await?;
    }
    round.conclude().await?;
    Ok(round.found)
}

/// True when events come from the public exchange into the intake. `None` when that does not show: events wait before the
/// probe, the broker confirms nothing, or a right is missing.
pub(in crate::rabbitmq) async fn intake_is_bound(
    connection: &BrokerConnection,
    names: &Names,
    topology: &Topology,
    first: i64,
) -> Option<bool> {
    let park = names.log(Log::Parked);
    let bindings = topology.bindings.iter().filter(|binding| binding.to == park || binding.from == names.events);
    let found = probe(connection, names, &bindings.cloned().collect::<Vec<_>>(), first).await.ok()?;
    match found.as_slice() {
        [] => Some(true),
        [TopologyError::IntakeClosed { .. }] => Some(false),
        _ => None,
    }
}

struct Round<'a> {
    connection: &'a BrokerConnection,
    names: &'a Names,
    arrivals: SelectAll<lapin::Consumer>,
    probes: Vec<Probe<'a>>,
    found: Vec<TopologyError>,
    /// True once everything that came into the logs in time was taken in, so that what did not come is known as well.
    has_listened: bool,
}

impl<'a> Round<'a> {
    /// Reads a log from now on.
    async fn follow(&mut self, log: &str) -> lapin::Result<()> {
        let channel = self.connection.open_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("next".into()));
        let options = BasicConsumeOptions::default();
        self.arrivals.push(channel.basic_consume(log.into(), "".into(), options, arguments).await?);
        Ok(())
    }

    /// Sends a probe through each binding, one after the other: lapin gives a returned message to whichever confirm comes
    /// next (docs/rabbitmq.md#returns-and-confirms-in-lapin). False when the broker confirms nothing.
    async fn send(
        &mut self,
        bindings: impl Iterator<Item = &'a DeclaredBinding>,
        markers: &mut impl Iterator<Item = i64>,
    ) -> Result<bool, TopologyError> {
        let mut channel = self.confirming().await?;
        for (binding, marker) in bindings.zip(markers) {
            let evidence = evidence(self.names, binding);
            // The shortest level is left when its time is over, as deliveries leave it.
            let expires = evidence != Evidence::Record && !is_shortest_level(self.names, binding);
            let properties = probe_properties(marker, expires);
            let Ok(sent) = timeout(PROBE_TIME, publish(&channel, &binding.from, &key(&binding.key), properties)).await
            else {
                let (entity, detail) = (binding.to_string(), NO_CONFIRM.to_owned());
                self.found.push(TopologyError::Unchecked { entity, detail });
                return Ok(false);
            };
            let is_there = match sent {
                Ok(Confirmation::Ack(Some(_))) => Some(false),
                Ok(Confirmation::Nack(_)) => {
                    let (entity, detail) = (binding.to_string(), "the broker refused the probe".to_owned());
                    self.found.push(TopologyError::Unchecked { entity, detail });
                    continue;
                }
                Ok(_) => (evidence == Evidence::NoReturn).then_some(true),
                Err(error) => {
                    self.found.push(unchecked(binding.to_string(), "write", &error)?);
                    // The broker has closed the old one.
                    channel = self.confirming().await?;
                    continue;
                }
            };
            self.probes.push(Probe { binding, evidence, marker, is_there });
        }
        Ok(true)
    }

    async fn confirming(&self) -> Result<Channel, TopologyError> {
        let channel = declare::open(self.connection).await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirming.map_err(|error| TopologyError::Away(describe(&error)))?;
        Ok(channel)
    }

    /// Takes in what comes into the logs until every binding is known, or the time is over. What an alternate exchange parked
    /// was confirmed, and so lies before a marker that follows. Where that marker does not come, or reading ends early, what
    /// did not come shows nothing.
    async fn listen(&mut self, markers: &mut impl Iterator<Item = i64>) -> Result<(), TopologyError> {
        let (channel, end) = (self.confirming().await?, markers.next());
        let park = self.names.log(Log::Parked);
        let properties = marker_properties(end.unwrap_or_default());
        // Without this marker the probes that only it decides stay undecided.
        let _ = timeout(PROBE_TIME, publish(&channel, &park, MARKER_KEY, properties)).await;
        let (deadline, mut taken, mut has_ended) = (Instant::now() + PROBE_TIME, 0_usize, false);
        while self.probes.iter().any(|probe| probe.is_there.is_none()) {
            let delivery = match timeout_at(deadline, self.arrivals.next()).await {
                Ok(Some(Ok(delivery))) => delivery,
                // A log was deleted, or its leader moved.
                Ok(_) => break,
                Err(_) => {
                    self.has_listened = has_ended;
                    break;
                }
            };
            taken += 1;
            if taken.is_multiple_of(ACK_STEP) {
                let _ = delivery.acker.ack(BasicAckOptions { multiple: true }).await;
            }
            let received = message::receive(delivery);
            if received.marker.is_some() && received.marker == end {
                has_ended = true;
                let undecided = self.probes.iter_mut().filter(|probe| probe.evidence == Evidence::NotParked);
                undecided.for_each(|probe| _ = probe.is_there.get_or_insert(true));
            } else if let Some(probe) = self.probes.iter_mut().find(|probe| received.marker == Some(probe.marker)) {
                probe.is_there = probe.is_there.or(Some(shown(probe.evidence, arrival(&received))));
            }
        }
        Ok(())
    }

    /// Adds what is missing to what was found, and what nothing has shown.
    async fn conclude(&mut self) -> Result<(), TopologyError> {
        for probe in std::mem::take(&mut self.probes) {
            let intake = probe.binding.from == self.names.events;
            let passes = probe.evidence == Evidence::Passage;
            let nothing_came = || format!("nothing came into the logs within {PROBE_TIME:?}");
            let is_undecided = probe.is_there.is_none() && self.has_listened;
            let is_behind = intake && is_undecided && self.waits(&probe.binding.to).await?;
            self.found.push(match probe.is_there {
                Some(true) => continue,
                None if !self.has_listened => TopologyError::Unchecked {
                    entity: probe.binding.to_string(),
                    detail: "the broker was too busy, or the logs could not be read to their ends".to_owned(),
                },
                None if is_behind => TopologyError::Unchecked {
                    entity: probe.binding.to_string(),
                    detail: "events wait in the queue, and the probe behind them".to_owned(),
                },
                // A probe that was neither parked nor came out of an empty intake went only to other queues.
                _ if intake => TopologyError::IntakeClosed { binding: probe.binding.to_string() },
                None if passes => TopologyError::Broken {
                    entity: "the way from delay.1s over wake to park".to_owned(),
                    detail: format!("nothing arrived within {PROBE_TIME:?}"),
                },
                None if probe.evidence == Evidence::NotParked => {
                    TopologyError::Unchecked { entity: probe.binding.to_string(), detail: nothing_came() }
                }
                Some(false) | None => TopologyError::Missing { entity: probe.binding.to_string() },
            });
        }
        Ok(())
    }

    /// True when messages wait in a queue.
    async fn waits(&self, queue: &str) -> Result<bool, TopologyError> {
        let away = |error: lapin::Error| TopologyError::Away(describe(&error));
        let channel = declare::open(self.connection).await?;
        let passive = QueueDeclareOptions { durable: true, passive: true, ..QueueDeclareOptions::default() };
        let there = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.map_err(away)?;
        Ok(there.message_count() > 0)
    }
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    properties: lapin::BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await
}

fn evidence(names: &Names, binding: &DeclaredBinding) -> Evidence {
    if [names.of("canary"), names.history()].contains(&binding.to) {
        Evidence::NoReturn
    } else if [Log::Dead, Log::Parked].iter().any(|log| names.log(*log) == binding.to) {
        Evidence::Record
    } else if binding.from == names.events || is_shortest_level(names, binding) {
        Evidence::Passage
    } else {
        Evidence::NotParked
    }
}

fn is_shortest_level(names: &Names, binding: &DeclaredBinding) -> bool {
    binding.to == names.of("delay.1s")
}

fn arrival(received: &ReceivedMessage) -> Arrival {
    let passed = received.last_death.is_some() || received.key == PROBE_TAKEN_KEY;
    if passed { Arrival::Passed } else { Arrival::Unchanged }
}

/// True when this arrival shows the binding, and false when it shows that the binding is missing.
fn shown(evidence: Evidence, arrival: Arrival) -> bool {
    evidence == Evidence::Record || arrival == Arrival::Passed
}

/// A key that the pattern of a binding matches. It has fewer words than an event's, so few patterns of those who tap events
/// match it.
fn key(pattern: &str) -> String {
    let words = pattern.split('.').map(|word| if ["#", "*"].contains(&word) { "probe" } else { word });
    words.collect::<Vec<_>>().join(".")
}

/// What could not be checked for want of a right; an error when the broker is away.
fn unchecked(entity: String, right: &str, error: &lapin::Error) -> Result<TopologyError, TopologyError> {
    match refusal(error) {
        Some(_) => Ok(TopologyError::Unchecked { entity, detail: describe_without(right, error) }),
        None => Err(TopologyError::Away(describe(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerConfig;

    fn config() -> BrokerConfig {
        BrokerConfig {
            url: String::new(),
            prefix: "carteiro".to_owned(),
            exchange: "ticketing.events".to_owned(),
            declare: true,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        }
    }

    #[test]
    fn a_probe_has_a_key_that_its_binding_matches_and_no_event_has() {
        let keys = [("#", "probe"), ("*.fast", "probe.fast"), ("30m.#", "30m.probe"), ("fast", "fast")];
        for (pattern, expected) in keys {
            assert_eq!(key(pattern), expected);
        }
    }

    #[test]
    fn a_probe_that_nobody_parked_is_enough_only_where_nobody_else_binds() {
        let names = Names::new(&config());
        let bindings = Topology::plan(&config()).bindings;
        let more: Vec<_> = bindings
            .iter()
            .map(|binding| (binding.to.as_str(), evidence(&names, binding)))
            .filter(|(_, evidence)| *evidence != Evidence::NotParked)
            .collect();
        let expected = [
            ("carteiro.v1.park", Evidence::Record),
            ("carteiro.v1.dead", Evidence::Record),
            ("carteiro.v1.history", Evidence::NoReturn),
            ("carteiro.v1.ingest", Evidence::Passage),
            ("carteiro.v1.canary", Evidence::NoReturn),
            ("carteiro.v1.delay.1s", Evidence::Passage),
        ];
        assert_eq!(more, expected);
    }

    #[test]
    fn a_probe_that_came_into_the_log_as_it_was_shows_a_missing_binding_unless_it_was_for_the_log() {
        for evidence in [Evidence::Passage, Evidence::NotParked] {
            assert!(shown(evidence, Arrival::Passed) && !shown(evidence, Arrival::Unchanged));
        }
        assert!(shown(Evidence::Record, Arrival::Unchanged));
    }
}
