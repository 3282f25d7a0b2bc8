//! The commands of `carteiro topology`: apply, verify, drain, remove. Each connects by itself, and does not wait for a
//! broker that is away.

use lapin::{
    BasicProperties, Channel,
    options::{
        BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde::Serialize;

use super::{
    declare,
    entities::{DeclaredBinding, DeclaredQueue},
    plan::{Names, Topology},
    probes,
};
use crate::{
    BrokerConfig, Log, Queue,
    rabbitmq::{
        connect::{BrokerConnection, BrokerHosts, connect},
        error::{TopologyError, describe},
    },
};

/// Declares what is missing and compares what is there, whatever `broker.declare` says. Returns the logs that have another
/// size.
pub async fn apply(config: &BrokerConfig) -> Result<Vec<TopologyError>, TopologyError> {
    with_connection(config, async |connection| declare::declare(connection, &Topology::plan(config)).await).await
}

/// Compares everything that AMQP shows, and sends a probe through each binding between what is there, since AMQP shows
/// neither bindings nor a silent fall back to at-most-once dead-lettering
/// (docs/rabbitmq.md#at-least-once-dead-lettering). `chance` numbers the probes. Differences are the answer, not an error.
pub async fn verify(config: &BrokerConfig, mut chance: fastrand::Rng) -> Result<Vec<TopologyError>, TopologyError> {
    // Each run has numbers of its own.
    let first = i64::from(chance.u32(..)) << 8;
    with_connection(config, async |connection| differences(connection, config, first).await).await
}

/// What differs, and which bindings are missing, do not work or could not be checked. `first` numbers the probes.
async fn differences(
    connection: &BrokerConnection,
    config: &BrokerConfig,
    first: i64,
) -> Result<Vec<TopologyError>, TopologyError> {
    let (names, topology) = (Names::new(config), Topology::plan(config));
    let mut found = declare::differences(connection, &topology).await?;
    let is_missing = |kind: &str, name: &str| {
        let entity = format!("{kind} {name}");
        found.iter().any(|error| matches!(error, TopologyError::Missing { entity: missing } if *missing == entity))
    };
    let is_possible =
        |binding: &DeclaredBinding| !is_missing("exchange", &binding.from) && !is_missing("queue", &binding.to);
    let bindings: Vec<_> = topology.bindings.iter().filter(|binding| is_possible(binding)).cloned().collect();
    let park = names.log(Log::Parked);
    if is_missing("exchange", &park) || is_missing("queue", &park) {
        let (entity, detail) = ("the bindings".to_owned(), format!("they show only where {park} is"));
        found.push(TopologyError::Unchecked { entity, detail });
    } else {
        found.extend(probes::probe(connection, &names, &bindings, first).await?);
    }
    Ok(found)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueContents {
    pub queue: String,
    /// Messages that could be handed out, without those that consumers hold unsettled.
    pub ready: u32,
    pub consumers: u32,
}

/// The contents of every queue that exists.
pub async fn contents(config: &BrokerConfig) -> Result<Vec<QueueContents>, TopologyError> {
    let (topology, names) = (Topology::plan(config), Names::new(config));
    with_connection(config, async |connection| contents_on(connection, &topology, &names).await).await
}

pub(in crate::rabbitmq) async fn contents_on(
    connection: &BrokerConnection,
    topology: &Topology,
    names: &Names,
) -> Result<Vec<QueueContents>, TopologyError> {
    let passive = QueueDeclareOptions { durable: true, passive: true, ..QueueDeclareOptions::default() };
    let (mut channel, mut found) = (declare::open(connection).await?, Vec::new());
    for queue in topology.queues.iter().filter(|queue| carries_work(queue, names)) {
        let answer = channel.queue_declare(queue.name.as_str().into(), passive, FieldTable::default()).await;
        match answer.map_err(|error| TopologyError::on(format!("queue {}", queue.name), &error)) {
            Ok(there) => found.push(QueueContents {
                ready: there.message_count(),
                consumers: there.consumer_count(),
                queue: queue.name.clone(),
            }),
            // The broker closes the channel with this answer.
            Err(TopologyError::Missing { .. }) => channel = declare::open(connection).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Streams always report that they are empty, and liveness probes are no work.
fn carries_work(queue: &DeclaredQueue, names: &Names) -> bool {
    let others = [names.log(Log::Dead), names.log(Log::Parked), names.history(), names.of("canary")];
    !others.contains(&queue.name)
}

/// Unbinds the intake from the public exchange. Later events are parked as unroutable until [`apply`], or a role that
/// may declare, binds it again.
pub async fn stop_intake(config: &BrokerConfig) -> Result<(), TopologyError> {
    let names = Names::new(config);
    let intake = DeclaredBinding { to: names.queue(Queue::Ingest), from: names.events, key: "#".to_owned() };
    with_connection(config, async |connection| declare::unbind(connection, &intake).await).await
}

/// Sends a notice to every process on the broker, as [`Broker::announce`](crate::Broker::announce) does; to nobody where
/// nothing is declared.
pub async fn announce(config: &BrokerConfig, notice: &[u8]) -> Result<(), TopologyError> {
    let exchange = Names::new(config).of("control");
    with_connection(config, async |connection| announce_on(connection, &exchange, notice).await).await
}

async fn announce_on(connection: &BrokerConnection, exchange: &str, notice: &[u8]) -> Result<(), TopologyError> {
    let away = |error: lapin::Error| TopologyError::Away(describe(&error));
    let channel = declare::open(connection).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(away)?;
    let (exchange, options) = (exchange.into(), BasicPublishOptions::default());
    let published = async {
        channel.basic_publish(exchange, "".into(), options, notice, BasicProperties::default()).await?.await.map(drop)
    };
    match published.await.map_err(|error| TopologyError::on("exchange control".to_owned(), &error)) {
        Err(TopologyError::Missing { .. }) => Ok(()),
        published => published,
    }
}

/// Removes the messages with this header from the head of every queue that carries work, up to the first one without
/// it. For probes, in queues without consumers.
pub async fn discard(config: &BrokerConfig, header: &str) -> Result<(), TopologyError> {
    let (topology, names) = (Topology::plan(config), Names::new(config));
    with_connection(config, async |connection| {
        let there = contents_on(connection, &topology, &names).await?;
        discard_on(connection, there, header).await
    })
    .await
}

async fn discard_on(
    connection: &BrokerConnection,
    there: Vec<QueueContents>,
    header: &str,
) -> Result<(), TopologyError> {
    let channel = declare::open(connection).await?;
    for queue in there.into_iter().filter(|queue| queue.ready > 0) {
        let discarded = discard_from(&channel, &queue.queue, header).await;
        discarded.map_err(|error| TopologyError::on(format!("queue {}", queue.queue), &error))?;
    }
    // The broker answers once all of it is done.
    channel.close(200, "OK".into()).await.map_err(|error| TopologyError::Away(describe(&error)))
}

async fn discard_from(channel: &Channel, queue: &str, header: &str) -> lapin::Result<()> {
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await? {
        let headers = got.delivery.properties.headers().as_ref();
        if headers.is_none_or(|headers| !headers.inner().contains_key(header)) {
            return got.delivery.acker.nack(BasicNackOptions { multiple: false, requeue: true }).await.map(drop);
        }
        got.delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// Deletes every exchange and queue of the plan, with their messages. The public exchange stays while something else is
/// bound to it. Without it, publishers get an error.
pub async fn remove(config: &BrokerConfig) -> Result<(), TopologyError> {
    let topology = Topology::plan(config);
    with_connection(config, async |connection| declare::remove(connection, &topology, &config.exchange).await).await
}

/// Does the work of a command on a connection of its own.
async fn with_connection<T>(
    config: &BrokerConfig,
    work: impl AsyncFnOnce(&BrokerConnection) -> Result<T, TopologyError>,
) -> Result<T, TopologyError> {
    let connection = open(config).await?;
    let done = work(&connection).await;
    connection.close().await;
    done
}

/// Each host is tried once.
async fn open(config: &BrokerConfig) -> Result<BrokerConnection, TopologyError> {
    let hosts = BrokerHosts::load(&config.url).map_err(|error| TopologyError::Away(error.to_string()))?;
    let mut last = TopologyError::Away("no host".to_owned());
    for host in 0..hosts.count() {
        match connect(hosts.host(host), "topology").await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}
