//! A small confirmed publish on a connection that publishes: whether the broker still takes and keeps what comes by it.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};

use super::{error::describe_without, health::Health};

/// Longer than a change of leaders takes, also that of a hanging one (V13: 6 s).
const LIMIT: Duration = Duration::from_secs(15);

/// The liveness check of one connection.
pub(super) struct Canary {
    channel: Channel,
    exchange: ShortString,
    health: Health,
}

impl Canary {
    /// Opens its channel.
    pub(super) async fn open(connection: &Connection, exchange: &str, health: Health) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, exchange: exchange.into(), health })
    }

    /// One beat: confirmed in time, or why not. While the broker blocks it just waits.
    pub(super) async fn beat(&self) -> Result<(), String> {
        let confirm = async {
            let options = BasicPublishOptions { mandatory: true, immediate: false };
            let properties = BasicProperties::default().with_delivery_mode(2);
            self.channel.basic_publish(self.exchange.clone(), "canary".into(), options, &[], properties).await?.await
        };
        tokio::select! {
            answer = confirm => match answer {
                Ok(Confirmation::Ack(None)) => Ok(()),
                Ok(Confirmation::Ack(Some(_))) => Err("the canary was returned: its queue is not bound".to_owned()),
                Ok(_) => Err("the canary was refused: its queue has lost its majority".to_owned()),
                Err(error) => Err(describe_without("write", &error)),
            },
            () = self.health.unblocked_for(LIMIT) => Err("the canary was not confirmed for 15 s".to_owned()),
        }
    }
}
