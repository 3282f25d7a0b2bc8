//! What `carteiro topology` does: plan, apply, verify, remove, each on a connection of its own.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    Channel, Connection,
    options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    address::Address,
    declare::{self, differences},
    error::{TopologyError, describe},
    log::marked,
    session::connect,
    topology::{Names, Topology},
    wire,
};
use crate::{BrokerConfig, Log};

/// The smallest level is a second; the rest is for a busy broker.
const PROBE: Duration = Duration::from_secs(10);

/// Declares what is missing and compares what is there, whatever `broker.declare` says.
///
/// # Errors
/// The first thing that could not be declared, or is there with another argument.
pub async fn apply(config: &BrokerConfig) -> Result<(), TopologyError> {
    declare::declare(&reach(config).await?, &Topology::plan(config)).await
}

/// Compares everything that AMQP lets one see, and then sends a probe through a delay level and the alternate exchange
/// into a stream: at-least-once dead-lettering silently falls back to less where the broker lacks streams, and neither
/// that nor a binding can be read. The probe stays in the `park` log, where no reader is shown it. Changes nothing else.
///
/// `chance` tells this probe from others.
///
/// # Errors
/// Those met on the way; differences are the answer, not an error.
pub async fn verify(config: &BrokerConfig, mut chance: fastrand::Rng) -> Result<Vec<TopologyError>, TopologyError> {
    let connection = reach(config).await?;
    let mut found = differences(&connection, &Topology::plan(config)).await?;
    if found.is_empty() {
        found.extend(probe(&connection, &Names::new(config), i64::from(chance.u32(..))).await?);
    }
    Ok(found)
}

/// Deletes every exchange and queue of the plan, with all that is in them, the public exchange too: for a prefix and an
/// exchange of one's own, as the demo's.
///
/// # Errors
/// The first that could not be deleted.
pub async fn remove(config: &BrokerConfig) -> Result<(), TopologyError> {
    declare::remove(&reach(config).await?, &Topology::plan(config)).await
}

/// Each host is tried once; a command does not wait for a broker.
async fn reach(config: &BrokerConfig) -> Result<Connection, TopologyError> {
    let address = Address::parse(&config.url).map_err(|error| TopologyError::Away(error.to_string()))?;
    let mut last = TopologyError::Away("no host".to_owned());
    for host in 0..address.hosts() {
        match connect(address.host(host), "topology").await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Waits a second on the shortest level, then wakes with a key that no lane is bound to.
async fn probe(connection: &Connection, names: &Names, marker: i64) -> Result<Option<TopologyError>, TopologyError> {
    let away = |error: lapin::Error| TopologyError::Away(describe(&error));
    let channel = connection.create_channel().await.map_err(away)?;
    let mut parked = tail(&channel, &names.log(Log::Parked)).await.map_err(away)?;
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let delay = names.of("delay").into();
    let confirm = channel.basic_publish(delay, "1s.probe".into(), options, &[], marked(marker)).await.map_err(away)?;
    let confirmed = confirm.await.map_err(away)?;
    let entity = "the way from delay.1s over wake to park".to_owned();
    if !confirmed.is_ack() {
        return Ok(Some(TopologyError::Broken { entity, detail: "the probe was not confirmed".to_owned() }));
    }
    let seen = timeout(PROBE, async {
        while let Some(Ok(delivery)) = parked.next().await {
            if wire::receive(delivery).marker == Some(marker) {
                return true;
            }
        }
        false
    });
    let arrived = seen.await.unwrap_or(false);
    Ok((!arrived).then(|| TopologyError::Broken { entity, detail: format!("nothing arrived within {PROBE:?}") }))
}

async fn tail(channel: &Channel, stream: &str) -> lapin::Result<lapin::Consumer> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    // Other markers may come in between; more than these within the second are not expected.
    channel.basic_qos(1000, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("next".into()));
    channel.basic_consume(stream.into(), "".into(), BasicConsumeOptions::default(), arguments).await
}
