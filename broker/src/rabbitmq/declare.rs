//! Making a broker's topology what the plan says, or saying where it differs. Nothing is ever deleted to make room for
//! a declaration; only [`remove`] deletes, and everything.

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    entities::{Argument, Binding, DeclaredQueue, Exchange, Routing},
    error::{TopologyError, describe},
    topology::Topology,
};

/// How an entity is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Is it there? Changes nothing, and sees no arguments.
    Passively,
    /// Be there, with these arguments: creates it, or compares it with what is there.
    Actively,
}

/// Declares what is missing and compares what is there. Stops at the first difference.
///
/// A declaration cannot find anything missing, but a node that is still booting answers 404 for a durable queue whose
/// members it has not started: that passes.
pub(super) async fn declare(connection: &Connection, topology: &Topology) -> Result<(), TopologyError> {
    declare_all(connection, topology).await.map_err(|error| match error {
        TopologyError::Missing { entity } => TopologyError::Away(format!("{entity} cannot be reached yet")),
        other => other,
    })
}

async fn declare_all(connection: &Connection, topology: &Topology) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    for exchange in &topology.exchanges {
        ask_exchange(&channel, exchange, Ask::Actively).await?;
    }
    for queue in &topology.queues {
        ask_queue(&channel, queue, Ask::Actively).await?;
    }
    for binding in &topology.bindings {
        bind(&channel, binding).await?;
    }
    Ok(())
}

/// Looks whether everything is there, without any right to change. Stops at the first thing missing.
pub(super) async fn check(connection: &Connection, topology: &Topology) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    for exchange in &topology.exchanges {
        ask_exchange(&channel, exchange, Ask::Passively).await?;
    }
    for queue in &topology.queues {
        ask_queue(&channel, queue, Ask::Passively).await?;
    }
    Ok(())
}

/// All differences that AMQP lets one see: what is missing, and what has other arguments. (It cannot show bindings.)
pub(super) async fn differences(
    connection: &Connection,
    topology: &Topology,
) -> Result<Vec<TopologyError>, TopologyError> {
    let mut found = Vec::new();
    let mut channel = open(connection).await?;
    // Passively first: asking actively would create what is missing.
    for exchange in &topology.exchanges {
        let answer = match ask_exchange(&channel, exchange, Ask::Passively).await {
            Ok(()) => ask_exchange(&channel, exchange, Ask::Actively).await,
            missing => missing,
        };
        note(connection, &mut channel, &mut found, answer).await?;
    }
    for queue in &topology.queues {
        let answer = match ask_queue(&channel, queue, Ask::Passively).await {
            Ok(()) => ask_queue(&channel, queue, Ask::Actively).await,
            missing => missing,
        };
        note(connection, &mut channel, &mut found, answer).await?;
    }
    Ok(found)
}

/// Keeps a finding. The broker has closed the channel with it.
async fn note(
    connection: &Connection,
    channel: &mut Channel,
    found: &mut Vec<TopologyError>,
    answer: Result<(), TopologyError>,
) -> Result<(), TopologyError> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) if error.is_fatal() => {
            found.push(error);
            *channel = open(connection).await?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Takes a binding away. What is not there counts as gone.
pub(super) async fn unbind(connection: &Connection, binding: &Binding) -> Result<(), TopologyError> {
    let channel = open(connection).await?;
    let (to, from, key) = (binding.to.as_str().into(), binding.from.as_str().into(), binding.key.as_str().into());
    let answer = channel.queue_unbind(to, from, key, FieldTable::default()).await;
    answer.map_err(|error| TopologyError::on(format!("binding {} -> {}", binding.from, binding.to), &error))
}

/// Deletes every entity of the plan, with all that is in it. Without `if-empty`, which closes the connection on a quorum
/// queue (V16). What is not there counts as deleted. `public`, an exchange, stays while something is bound to it.
pub(super) async fn remove(connection: &Connection, topology: &Topology, public: &str) -> Result<(), TopologyError> {
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
            // It is in use, and was asked for last, since the broker closes the channel with that answer.
            Err(TopologyError::Mismatch { .. }) if exchange.name == public => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

async fn open(connection: &Connection) -> Result<Channel, TopologyError> {
    connection.create_channel().await.map_err(|error| TopologyError::Away(describe(&error)))
}

async fn ask_exchange(channel: &Channel, exchange: &Exchange, ask: Ask) -> Result<(), TopologyError> {
    let kind = match exchange.kind {
        Routing::Topic => ExchangeKind::Topic,
        Routing::Direct => ExchangeKind::Direct,
        Routing::Fanout => ExchangeKind::Fanout,
    };
    let options =
        ExchangeDeclareOptions { durable: true, passive: ask == Ask::Passively, ..ExchangeDeclareOptions::default() };
    let alternate = exchange.alternate.clone().map(|name| ("alternate-exchange", Argument::Text(name)));
    let arguments = table(alternate.as_slice());
    let answer = channel.exchange_declare(exchange.name.as_str().into(), kind, options, arguments).await;
    answer.map_err(|error| TopologyError::on(format!("exchange {}", exchange.name), &error))
}

async fn ask_queue(channel: &Channel, queue: &DeclaredQueue, ask: Ask) -> Result<(), TopologyError> {
    let options =
        QueueDeclareOptions { durable: true, passive: ask == Ask::Passively, ..QueueDeclareOptions::default() };
    let answer = channel.queue_declare(queue.name.as_str().into(), options, table(&queue.arguments)).await;
    answer.map(drop).map_err(|error| TopologyError::on(format!("queue {}", queue.name), &error))
}

async fn bind(channel: &Channel, binding: &Binding) -> Result<(), TopologyError> {
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
