//! Reading a log: a stream, consumed over AMQP 0-9-1 from an offset on. A log is read, never settled (V11: a nack closes
//! the connection), and has no end marker of its own: the reader appends one and reads up to it.

use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::sync::mpsc;

use super::{
    core::Core,
    error::describe,
    session::connect,
    wire::{self, LAST_DEATH, MARKER},
};
use crate::{Log, ReadError, Record};

/// Records under way. A stream consumer must have a limit.
const CREDIT: u16 = 200;
/// Credit is given back in steps of this many.
const STEP: usize = CREDIT as usize / 2;

/// One reading of a log.
pub(super) struct Reading {
    pub(super) core: Arc<Core>,
    pub(super) log: Log,
    pub(super) offset: u64,
    pub(super) out: mpsc::Sender<Result<Record, ReadError>>,
}

impl Reading {
    /// Reads to the end, or says why that was not possible. Stops early if nobody listens any more.
    pub(super) async fn run(self) {
        if let Err(reason) = self.read().await {
            let _ = self.out.send(Err(ReadError(reason))).await;
        }
    }

    async fn read(&self) -> Result<(), String> {
        let session = self.core.session.borrow().clone().ok_or("the broker is away")?;
        // A connection of its own: a slow reader must not hold up the deliveries of the others.
        let connection = connect(&session.host, "reading").await.map_err(|error| error.to_string())?;
        let channel = connection.create_channel().await.map_err(|error| describe(&error))?;
        let records = self.attach(&channel).await.map_err(|error| describe(&error))?;
        // Only now, so that it comes after the place of attachment, even where that lies beyond the end.
        let marker = i64::from(self.core.chance.lock().unwrap_or_else(PoisonError::into_inner).u32(..));
        self.core.mark(self.log, marked(marker)).await.map_err(|error| error.to_string())?;
        let read = tokio::select! {
            read = self.pass_on(&channel, records, marker) => read,
            reason = session.health.failed() => Err(reason),
        };
        let _ = connection.close(200, "OK".into()).await;
        read
    }

    async fn attach(&self, channel: &Channel) -> lapin::Result<lapin::Consumer> {
        channel.basic_qos(CREDIT, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(offset));
        let stream = self.core.names.log(self.log);
        channel.basic_consume(stream.into(), "".into(), BasicConsumeOptions::default(), arguments).await
    }

    /// Passes on every record up to our marker; markers are no records, whoever wrote them.
    async fn pass_on(&self, channel: &Channel, mut records: lapin::Consumer, marker: i64) -> Result<(), String> {
        let mut taken = 0;
        while let Some(delivery) = records.next().await {
            let delivery = delivery.map_err(|error| describe(&error))?;
            taken += 1;
            if taken % STEP == 0 {
                let all = BasicAckOptions { multiple: true };
                channel.basic_ack(delivery.delivery_tag, all).await.map_err(|error| describe(&error))?;
            }
            match read_record(delivery) {
                Entry::Marker(found) if found == marker => return Ok(()),
                // Attached in the midst of a chunk, the broker may begin earlier.
                Entry::Record(record) if record.offset >= self.offset => {
                    if self.out.send(Ok(record)).await.is_err() {
                        return Ok(());
                    }
                }
                Entry::Marker(_) | Entry::Record(_) => {}
            }
        }
        Err("the broker cancelled the reader".to_owned())
    }
}

/// What lies in a log.
enum Entry {
    Marker(i64),
    Record(Record),
}

fn read_record(delivery: Delivery) -> Entry {
    let received = wire::receive(delivery);
    if let Some(marker) = received.marker {
        return Entry::Marker(marker);
    }
    let mut message = received.message;
    if let Some(reason) = received.last_death {
        message.headers.set(LAST_DEATH, reason);
    }
    Entry::Record(Record { offset: received.offset.unwrap_or(0), key: received.key, message })
}

/// The properties of a marker.
pub(super) fn marked(marker: i64) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(MARKER.into(), AMQPValue::LongLongInt(marker));
    BasicProperties::default().with_delivery_mode(2).with_headers(headers)
}
