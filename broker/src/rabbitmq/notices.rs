//! Notices, over a fanout exchange and a queue that is deleted with its session. Nothing is confirmed or acknowledged.

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::mpsc;

use super::{connect::BrokerConnection, error::describe, health::SessionHealth};
use crate::notices::NoticeSender;

/// Number of notices that may wait to be written while the broker is blocked. Further ones are dropped.
const UNSENT: usize = 256;
/// Number of notices that the broker keeps for a process that does not read. Beyond it the oldest are dropped.
const UNREAD: i64 = 10_000;

pub(super) struct NoticeChannel {
    channel: Channel,
    exchange: ShortString,
    received: lapin::Consumer,
    announced: mpsc::Receiver<Bytes>,
}

impl NoticeChannel {
    /// Declares the session's queue and begins to listen. The sender takes the notices to announce.
    pub(super) async fn open(
        connection: &BrokerConnection,
        exchange: &str,
    ) -> lapin::Result<(Self, mpsc::Sender<Bytes>)> {
        let channel = connection.open_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(UNREAD));
        // Exclusive, as RabbitMQ 4.3 demands of a transient queue: docs/rabbitmq.md#transient-queues
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, arguments).await?.name().clone();
        let exchange = ShortString::from(exchange);
        let (binding, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.clone(), exchange.clone(), "".into(), binding, none).await?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let received = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let (sender, announced) = mpsc::channel(UNSENT);
        Ok((Self { channel, exchange, received, announced }, sender))
    }

    /// Passes received notices on to `listeners` and publishes announced ones, until the session is over. These are two
    /// loops, because publishing may have to wait for the end of an alarm.
    pub(super) async fn run(self, listeners: NoticeSender, health: SessionHealth) {
        let Self { channel, exchange, mut received, mut announced } = self;
        let receive = async {
            loop {
                match received.next().await {
                    Some(Ok(delivery)) => listeners.send(delivery.data.into()),
                    Some(Err(error)) => return describe(&error),
                    None => return "the broker cancelled the consumer of notices".to_owned(),
                }
            }
        };
        let publish = async {
            while let Some(notice) = announced.recv().await {
                let (options, transient) = (BasicPublishOptions::default(), BasicProperties::default());
                if let Err(error) =
                    channel.basic_publish(exchange.clone(), "".into(), options, &notice, transient).await
                {
                    return describe(&error);
                }
            }
            "the session was dropped".to_owned()
        };
        tokio::select! {
            reason = receive => health.fail(reason),
            reason = publish => health.fail(reason),
            _ = health.failed() => {}
        }
    }
}
