//! A question now and then on a connection that must not publish (V12): whether there still is a broker at its other end.
//! Heartbeats would tell too, but only after twice their interval.

use std::time::Duration;

use lapin::{Channel, Connection, options::QueueDeclareOptions, types::ShortString};
use tokio::time::timeout;

use super::error::describe;

/// For an answer. An alarm holds none back, and the queue that is asked for may take 5 s to find no leader.
const LIMIT: Duration = Duration::from_secs(15);

/// The liveness check of a connection that only consumes.
pub(super) struct Echo {
    channel: Channel,
    queue: ShortString,
}

impl Echo {
    /// Opens its channel. Any role may ask for any queue passively: that one must be there.
    pub(super) async fn open(connection: &Connection, queue: &str) -> lapin::Result<Self> {
        Ok(Self { channel: connection.create_channel().await?, queue: queue.into() })
    }

    /// Asks once: answered in time, or why not.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let passive = QueueDeclareOptions { durable: true, passive: true, ..QueueDeclareOptions::default() };
        match timeout(LIMIT, self.channel.queue_declare(self.queue.clone(), passive, <_>::default())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("no answer for 15 s".to_owned()),
        }
    }
}
