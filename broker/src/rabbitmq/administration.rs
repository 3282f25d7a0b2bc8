//! What `carteiro topology` does: apply, verify, drain, remove, each on a connection of its own.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    address::Address,
    contents::{self, Contents},
    declare::{self, differences},
    entities::Binding,
    error::{TopologyError, describe},
    log::marked,
    names::Names,
    session::connect,
    topology::Topology,
    wire,
};
use crate::{BrokerConfig, Log, Queue};

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

/// How much work is in every queue that is there.
///
/// # Errors
/// Those met on the way.
pub async fn contents(config: &BrokerConfig) -> Result<Vec<Contents>, TopologyError> {
    contents::contents(&reach(config).await?, config).await
}

/// Unbinds the intake from the public exchange. What is published from then on is parked as unroutable, until somebody
/// binds it again: [`apply`], or a role that connects and may declare.
///
/// # Errors
/// Those met on the way.
pub async fn stop_intake(config: &BrokerConfig) -> Result<(), TopologyError> {
    declare::unbind(&reach(config).await?, &intake(config)).await
}

/// Says something to every process on the broker, as [`Broker::announce`](crate::Broker::announce) does; to nobody, where
/// nothing is declared.
///
/// # Errors
/// Those met on the way.
pub async fn announce(config: &BrokerConfig, notice: &[u8]) -> Result<(), TopologyError> {
    let away = |error: lapin::Error| TopologyError::Away(describe(&error));
    let channel = reach(config).await?.create_channel().await.map_err(away)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(away)?;
    let (control, options) = (Names::new(config).of("control").into(), BasicPublishOptions::default());
    let said = async {
        channel.basic_publish(control, "".into(), options, notice, BasicProperties::default()).await?.await.map(drop)
    };
    match said.await.map_err(|error| TopologyError::on("exchange control".to_owned(), &error)) {
        Err(TopologyError::Missing { .. }) => Ok(()),
        said => said,
    }
}

/// Takes the messages that bear this header out of every queue that carries work, and throws them away, up to the first
/// in each that does not: of that one it is known that it is no sign of life. For queues that nobody consumes from.
///
/// # Errors
/// Those met on the way.
pub async fn discard(config: &BrokerConfig, header: &str) -> Result<(), TopologyError> {
    contents::discard(&reach(config).await?, config, header).await
}

/// The one binding through which events come in.
fn intake(config: &BrokerConfig) -> Binding {
    let names = Names::new(config);
    Binding { to: names.inlet(Queue::Ingest), from: names.events, key: "#".to_owned() }
}

/// Deletes every exchange and queue of the plan, with all that is in them. The public exchange too, unless something of
/// somebody else's is bound to it: publishers then learn that nobody takes their events.
///
/// # Errors
/// The first that could not be deleted.
pub async fn remove(config: &BrokerConfig) -> Result<(), TopologyError> {
    declare::remove(&reach(config).await?, &Topology::plan(config), &config.exchange).await
}

/// Each host is tried once; a command does not wait for a broker.
async fn reach(config: &BrokerConfig) -> Result<Connection, TopologyError> {
    let address = Address::to_reach(&config.url).map_err(|error| TopologyError::Away(error.to_string()))?;
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
