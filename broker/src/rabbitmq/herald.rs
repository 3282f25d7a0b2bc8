//! Notices, on a queue of the session's own that is bound to the control fanout and goes with it. Nothing is confirmed
//! or acknowledged: what gets lost with a session is said again by who needs an answer.

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::mpsc;

use super::{error::describe, health::Health};
use crate::notices::NoticeSender;

/// Notices that wait to be written; beyond it (the broker is blocked) they are dropped.
const OUTBOX: usize = 256;
/// Notices that the broker keeps for a process that does not read; then the oldest go.
const UNREAD: i64 = 10_000;

/// The crier and the listener of one session.
pub(super) struct Herald {
    channel: Channel,
    exchange: ShortString,
    heard: lapin::Consumer,
    outbox: mpsc::Receiver<Bytes>,
}

impl Herald {
    /// Declares the queue and begins to listen. The sender takes what is to be announced.
    pub(super) async fn open(connection: &Connection, exchange: &str) -> lapin::Result<(Self, mpsc::Sender<Bytes>)> {
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(UNREAD));
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, arguments).await?.name().clone();
        let exchange = ShortString::from(exchange);
        let (binding, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.clone(), exchange.clone(), "".into(), binding, none).await?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let heard = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let (sender, outbox) = mpsc::channel(OUTBOX);
        Ok((Self { channel, exchange, heard, outbox }, sender))
    }

    /// Puts up what is heard and says what is announced, until the session is over. Two loops, since writing may wait
    /// for the end of an alarm.
    pub(super) async fn run(self, board: NoticeSender, health: Health) {
        let Self { channel, exchange, mut heard, mut outbox } = self;
        let listen = async {
            loop {
                match heard.next().await {
                    Some(Ok(delivery)) => board.send(delivery.data.into()),
                    Some(Err(error)) => return describe(&error),
                    None => return "the broker cancelled the listener to notices".to_owned(),
                }
            }
        };
        let cry = async {
            while let Some(notice) = outbox.recv().await {
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
            reason = listen => health.fail(reason),
            reason = cry => health.fail(reason),
            _ = health.failed() => {}
        }
    }
}
