//! Makes a broker's topology what the plan says, or reports where it differs. Only [`remove`] deletes, and it deletes
//! everything.

use lapin::{
    Channel, ExchangeKind,
    options::{
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    entities::{Argument, DeclaredBinding, DeclaredExchange, DeclaredQueue, Routing},
    plan::Topology,
};
use crate::rabbitmq::{
    connect::BrokerConnection,
    error::{MAX_LENGTH_BYTES, TopologyError, current_value, describe},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum DeclareMode {
    /// Asks whether the entity is there. Changes nothing, and compares no arguments.
    Passive,
    /// Creates the entity, or compares its arguments if it is there.
    Active,
}

/// Declares what is missing and compares what is there, up to the first difference. Returns the logs that have another
/// size: a stream keeps that of its first declaration, and a policy changes it
/// (docs/rabbitmq.md#a-policy-sets-the-size-of-a-stream).
///
/// A node that is still booting answers 404 for a durable queue whose members it has not started
/// (docs/rabbitmq.md#a-booting-node-answers-404). That passes, so it counts as being away.
pub(in crate::rabbitmq) async fn declare(
    connection: &BrokerConnection,
    topology: &Topology,
) -> Result<Vec<TopologyError>, TopologyError> {
    declare_all(connection, topology).await.map_err(|error| match error {
        TopologyError::Missing { entity } => TopologyError::Away(format!("{entity} cannot be reached yet")),
        other => other,
    })
}

async fn declare_all(connection: &BrokerConnection, topology: &Topology) -> Result<Vec<TopologyError>, TopologyError> {
    let (mut channel, mut sizes) = (open(connection).await?, Vec::new());
    for exchange in &topology.exchanges {
        declare_exchange(&channel, exchange, DeclareMode::Active).await?;
    }
    for queue in &topology.queues {
        match compare_queue(connection, &mut channel, queue).await {
            Err(size @ TopologyError::LogSize { .. }) => sizes.push(size),
            declared => declared?,
        }
    }
    for binding in &topology.bindings {
        bind(&channel, binding).await?;
    }
    Ok(sizes)
}

/// Checks, without the right to declare, that everything is there, up to the first thing that is missing.
pub(in crate::rabbitmq) async fn check(
    connection: &BrokerConnection,
    topology: &Topology,
) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    for exchange in &topology.exchanges {
        declare_exchange(&channel, exchange, DeclareMode::Passive).await?;
    }
    for queue in &topology.queues {
        declare_queue(&channel, queue, DeclareMode::Passive).await?;
    }
    Ok(())
}

/// All missing entities and other arguments. AMQP cannot show bindings.
pub(super) async fn differences(
    connection: &BrokerConnection,
    topology: &Topology,
) -> Result<Vec<TopologyError>, TopologyError> {
    let mut found = Vec::new();
    let mut channel = open(connection).await?;
    // An active declaration would create what is missing, so the passive one comes first.
    for exchange in &topology.exchanges {
        let answer = match declare_exchange(&channel, exchange, DeclareMode::Passive).await {
            Ok(()) => declare_exchange(&channel, exchange, DeclareMode::Active).await,
            missing => missing,
        };
        let answer = answer.map_err(unless_refused);
        note(connection, &mut channel, &mut found, answer).await?;
    }
    for queue in &topology.queues {
        let answer = match declare_queue(&channel, queue, DeclareMode::Passive).await {
            Ok(()) => compare_queue(connection, &mut channel, queue).await,
            missing => missing,
        };
        let answer = answer.map_err(unless_refused);
        note(connection, &mut channel, &mut found, answer).await?;
    }
    Ok(found)
}

/// An entity is compared by declaring it: without that right only its being there is known.
fn unless_refused(error: TopologyError) -> TopologyError {
    match error {
        TopologyError::Refused { entity, detail } => {
            TopologyError::Unchecked { entity, detail: format!("no right to declare it: {detail}") }
        }
        other => other,
    }
}

/// Keeps a finding, and opens a new channel, because the broker has closed the old one.
async fn note(
    connection: &BrokerConnection,
    channel: &mut Channel,
    found: &mut Vec<TopologyError>,
    answer: Result<(), TopologyError>,
) -> Result<(), TopologyError> {
    match answer {
        Ok(()) => Ok(()),
        Err(TopologyError::Away(reason)) => Err(TopologyError::Away(reason)),
        Err(error) => {
            found.push(error);
            *channel = open(connection).await?;
            Ok(())
        }
    }
}

/// A binding that does not exist counts as removed.
pub(super) async fn unbind(connection: &BrokerConnection, binding: &DeclaredBinding) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    let (to, from, key) = (binding.to.as_str().into(), binding.from.as_str().into(), binding.key.as_str().into());
    let answer = channel.queue_unbind(to, from, key, FieldTable::default()).await;
    answer.map_err(|error| TopologyError::on(format!("binding {} -> {}", binding.from, binding.to), &error))
}

/// Deletes every entity of the plan, with all that is in it; what is not there counts as deleted. The exchange `public`
/// stays while something is bound to it. Queues are deleted without `if-empty`, which closes the connection on a quorum
/// queue (docs/rabbitmq.md#if-empty-closes-the-connection).
pub(super) async fn remove(
    connection: &BrokerConnection,
    topology: &Topology,
    public: &str,
) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    for queue in &topology.queues {
        let deleted = channel.queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default()).await;
        deleted.map_err(|error| TopologyError::on(format!("queue {}", queue.name), &error))?;
    }
    let (last, own): (Vec<_>, Vec<_>) = topology.exchanges.iter().rev().partition(|exchange| exchange.name == public);
    for exchange in own.into_iter().chain(last) {
        let options = ExchangeDeleteOptions { if_unused: exchange.name == public, ..ExchangeDeleteOptions::default() };
        let deleted = channel.exchange_delete(exchange.name.as_str().into(), options).await;
        match deleted.map_err(|error| TopologyError::on(format!("exchange {}", exchange.name), &error)) {
            // The exchange is in use. It comes last, since the broker closes the channel with this answer.
            Err(TopologyError::Mismatch { .. }) if exchange.name == public => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

pub(super) async fn open(connection: &BrokerConnection) -> Result<Channel, TopologyError> {
    connection.open_channel().await.map_err(|error| TopologyError::Away(describe(&error)))
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &DeclaredExchange,
    mode: DeclareMode,
) -> Result<(), TopologyError> {
    let kind = match exchange.kind {
        Routing::Topic => ExchangeKind::Topic,
        Routing::Direct => ExchangeKind::Direct,
        Routing::Fanout => ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        durable: true,
        passive: mode == DeclareMode::Passive,
        ..ExchangeDeclareOptions::default()
    };
    let alternate = exchange.alternate.clone().map(|name| ("alternate-exchange", Argument::Text(name)));
    let arguments = table(alternate.as_slice());
    let answer = channel.exchange_declare(exchange.name.as_str().into(), kind, options, arguments).await;
    answer.map_err(|error| TopologyError::on(format!("exchange {}", exchange.name), &error))
}

async fn declare_queue(channel: &Channel, queue: &DeclaredQueue, mode: DeclareMode) -> Result<(), TopologyError> {
    let options =
        QueueDeclareOptions { durable: true, passive: mode == DeclareMode::Passive, ..QueueDeclareOptions::default() };
    let answer = channel.queue_declare(queue.name.as_str().into(), options, table(&queue.arguments)).await;
    answer.map(drop).map_err(|error| TopologyError::on(format!("queue {}", queue.name), &error))
}

/// Declares a queue, or compares it with the one that is there. The broker names only the first argument that differs, so a
/// log of another size is compared once more, with the size that it has: what else differs is no matter of size.
async fn compare_queue(
    connection: &BrokerConnection,
    channel: &mut Channel,
    queue: &DeclaredQueue,
) -> Result<(), TopologyError> {
    let (entity, detail) = match declare_queue(channel, queue, DeclareMode::Active).await {
        Err(TopologyError::LogSize { entity, detail }) => (entity, detail),
        declared => return declared,
    };
    // The broker has closed the old one.
    *channel = open(connection).await?;
    let Some(size) = current_value(&detail) else {
        return Err(TopologyError::Mismatch { entity, argument: MAX_LENGTH_BYTES.to_owned(), detail });
    };
    let mut as_large = queue.clone();
    for (_, value) in as_large.arguments.iter_mut().filter(|(name, _)| *name == MAX_LENGTH_BYTES) {
        *value = Argument::Int(size);
    }
    match declare_queue(channel, &as_large, DeclareMode::Active).await {
        Ok(()) => Err(TopologyError::LogSize { entity, detail }),
        Err(TopologyError::Mismatch { entity, argument, detail: other }) => {
            Err(TopologyError::Mismatch { entity, argument, detail: format!("{other}; {detail}") })
        }
        Err(error) => Err(error),
    }
}

async fn bind(channel: &Channel, binding: &DeclaredBinding) -> Result<(), TopologyError> {
    let (to, from, key) = (binding.to.as_str().into(), binding.from.as_str().into(), binding.key.as_str().into());
    let answer = channel.queue_bind(to, from, key, QueueBindOptions::default(), FieldTable::default()).await;
    answer.map_err(|error| TopologyError::on(format!("binding {} -> {}", binding.from, binding.to), &error))
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Int(value) => AMQPValue::LongLongInt(*value),
            Argument::Text(value) => AMQPValue::LongString(value.as_str().into()),
        };
        table.insert((*name).into(), value);
    }
    table
}
