//! How much work is in the queues of a topology, as far as AMQP lets one see. It takes nothing out but signs of life.

use lapin::{
    Channel, Connection,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde::Serialize;

use super::{
    entities::DeclaredQueue,
    error::{TopologyError, describe},
    names::Names,
    topology::Topology,
};
use crate::{BrokerConfig, Log};

/// One queue, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Its name.
    pub queue: String,
    /// Messages that could be handed out. What a consumer has, and has not settled, is not among them: only where there
    /// are no consumers are they all.
    pub ready: u32,
    /// Those who take from it.
    pub consumers: u32,
}

/// Whether it carries events or deliveries. Streams say of themselves that they are empty, and signs of life do not count.
fn carries_work(queue: &DeclaredQueue, names: &Names) -> bool {
    let others = [names.log(Log::Dead), names.log(Log::Parked), names.of("canary")];
    !others.contains(&queue.name)
}

/// Of every queue that is there and carries work.
pub(super) async fn contents(connection: &Connection, config: &BrokerConfig) -> Result<Vec<Contents>, TopologyError> {
    let names = Names::new(config);
    let open = async || connection.create_channel().await.map_err(|error| TopologyError::Away(describe(&error)));
    let passive = QueueDeclareOptions { durable: true, passive: true, ..QueueDeclareOptions::default() };
    let (mut channel, mut found) = (open().await?, Vec::new());
    for queue in Topology::plan(config).queues.into_iter().filter(|queue| carries_work(queue, &names)) {
        let answer = channel.queue_declare(queue.name.as_str().into(), passive, FieldTable::default()).await;
        match answer.map_err(|error| TopologyError::on(format!("queue {}", queue.name), &error)) {
            Ok(there) => found.push(Contents {
                ready: there.message_count(),
                consumers: there.consumer_count(),
                queue: queue.name,
            }),
            // The broker has closed the channel with it.
            Err(TopologyError::Missing { .. }) => channel = open().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Throws away what bears the header, at the head of each queue that is there and carries work.
pub(super) async fn discard(connection: &Connection, config: &BrokerConfig, header: &str) -> Result<(), TopologyError> {
    let there = contents(connection, config).await?;
    let channel = connection.create_channel().await.map_err(|error| TopologyError::Away(describe(&error)))?;
    for queue in there.into_iter().filter(|queue| queue.ready > 0) {
        let discarded = discard_from(&channel, &queue.queue, header).await;
        discarded.map_err(|error| TopologyError::on(format!("queue {}", queue.queue), &error))?;
    }
    // Answered once all of it is done.
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
