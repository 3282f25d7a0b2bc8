//! Liveness: whether the broker still answers on each of a session's connections. One name may lead to several nodes,
//! and a single connection may fall silent. A node that lost its cluster keeps its connections open, and only a missing
//! confirm shows it (docs/rabbitmq.md#a-node-that-lost-its-cluster). AMQP's own heartbeats take twice their interval.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::ShortString,
};
use tokio::{
    sync::broadcast,
    time::{Instant, timeout},
};

use super::{
    connect::BrokerConnection,
    error::{describe, describe_without},
    health::SessionHealth,
};

const INTERVAL: Duration = Duration::from_secs(10);

/// Longest time until the answer to a probe: longer than a change of leaders, which takes 6 s for a hanging node
/// (docs/rabbitmq.md#a-leaders-death-costs-half-a-second).
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// An answered probe of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionHeartbeat {
    /// `consuming`, `publishing` or `control`.
    pub connection: &'static str,
    /// Includes the time under an alarm.
    pub took: Duration,
}

enum LivenessProbe {
    /// A question about a queue, for a connection that must not publish. Any role may ask about any queue passively.
    Question { channel: Channel, queue: ShortString },
    /// A confirmed publish, for a connection that publishes: it shows that the broker still takes and keeps messages.
    Publish { channel: Channel, exchange: ShortString, health: SessionHealth },
}

impl LivenessProbe {
    async fn question(connection: &BrokerConnection, queue: &str) -> lapin::Result<Self> {
        Ok(Self::Question { channel: connection.open_channel().await?, queue: queue.into() })
    }

    async fn publish(connection: &BrokerConnection, exchange: &str, health: SessionHealth) -> lapin::Result<Self> {
        let channel = connection.open_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self::Publish { channel, exchange: exchange.into(), health })
    }

    async fn send(&self) -> Result<(), String> {
        match self {
            Self::Question { channel, queue } => ask(channel, queue).await,
            Self::Publish { channel, exchange, health } => publish(channel, exchange, health).await,
        }
    }
}

/// No alarm holds this answer back, but a queue may take 5 s to find no leader.
async fn ask(channel: &Channel, queue: &ShortString) -> Result<(), String> {
    let passive = QueueDeclareOptions { durable: true, passive: true, ..QueueDeclareOptions::default() };
    match timeout(ANSWER_TIME, channel.queue_declare(queue.clone(), passive, <_>::default())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err("no answer for 15 s".to_owned()),
    }
}

/// The time limit does not run while the broker blocks.
async fn publish(channel: &Channel, exchange: &ShortString, health: &SessionHealth) -> Result<(), String> {
    let confirm = async {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel.basic_publish(exchange.clone(), "canary".into(), options, &[], properties).await?.await
    };
    tokio::select! {
        answer = confirm => match answer {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_))) => Err("the liveness probe was returned: its queue is not bound".to_owned()),
            Ok(_) => Err("the liveness probe was refused: its queue has lost its majority".to_owned()),
            Err(error) => Err(describe_without("write", &error)),
        },
        () = health.unblocked_for(ANSWER_TIME) => Err("the liveness probe was not confirmed for 15 s".to_owned()),
    }
}

pub(super) struct Liveness {
    consuming: LivenessProbe,
    publishing: LivenessProbe,
    control: LivenessProbe,
    health: SessionHealth,
    heartbeats: broadcast::Sender<ConnectionHeartbeat>,
}

impl Liveness {
    pub(super) async fn open(
        [consuming, publishing, control]: [&BrokerConnection; 3],
        probe: &str,
        health: SessionHealth,
        heartbeats: broadcast::Sender<ConnectionHeartbeat>,
    ) -> lapin::Result<Self> {
        Ok(Self {
            consuming: LivenessProbe::question(consuming, probe).await?,
            publishing: LivenessProbe::publish(publishing, probe, health.clone()).await?,
            control: LivenessProbe::publish(control, probe, health.clone()).await?,
            health,
            heartbeats,
        })
    }

    pub(super) async fn probe_control(&self) -> Result<(), String> {
        self.control.send().await
    }

    /// The answer comes after everything that was written on the connection before.
    pub(super) async fn probe_consuming(&self) -> Result<(), String> {
        self.consuming.send().await
    }

    /// Ends the session once a connection does not answer.
    pub(super) async fn watch(&self) {
        let reason = tokio::select! {
            reason = self.repeat("consuming", &self.consuming) => reason,
            reason = self.repeat("publishing", &self.publishing) => reason,
            reason = self.repeat("control", &self.control) => reason,
        };
        self.health.fail(reason);
    }

    async fn repeat(&self, connection: &'static str, probe: &LivenessProbe) -> String {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let sent = Instant::now();
            if let Err(reason) = probe.send().await {
                return format!("{connection} connection: {reason}");
            }
            // An error says only that nobody listens.
            let _ = self.heartbeats.send(ConnectionHeartbeat { connection, took: sent.elapsed() });
        }
    }
}
