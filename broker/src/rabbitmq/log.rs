//! Reading a log: a stream, consumed over AMQP 0-9-1 from an offset on. A log is read, never settled (V11: a nack closes
//! the connection), and has no end marker of its own: the reader appends one and reads up to it.

use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::sync::mpsc;

use super::{
    core::Core,
    error::describe,
    session::{Session, connect},
    wire::{self, LAST_DEATH, MARKER, Received},
};
use crate::{Log, ReadError, Record};

/// Records under way. A stream consumer must have a limit.
const CREDIT: u16 = 200;
/// Credit is given back in steps of this many.
const STEP: usize = CREDIT as usize / 2;

/// Deleted, or its node went.
const CANCELLED: &str = "the broker cancelled the reader";

/// A log on the broker.
pub(super) struct Stream {
    pub(super) core: Arc<Core>,
    pub(super) log: Log,
}

/// One reading of a log.
pub(super) struct Reading {
    pub(super) stream: Stream,
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
        let (session, connection) = self.stream.connect().await?;
        let read = tokio::select! {
            read = self.read_over(&connection) => read,
            reason = session.health.failed() => Err(reason),
        };
        let _ = connection.close(200, "OK".into()).await;
        read
    }

    async fn read_over(&self, connection: &Connection) -> Result<(), String> {
        let end = self.stream.end_over(connection).await?;
        // Attached beyond the end, the broker would wait for the log to grow that far.
        if self.offset < end { self.pass_on(connection, end).await } else { Ok(()) }
    }

    /// Passes on every record before `end`; markers are no records, whoever wrote them.
    async fn pass_on(&self, connection: &Connection, end: u64) -> Result<(), String> {
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let (channel, mut records) = self.stream.attach(connection, AMQPValue::LongLongInt(offset)).await?;
        let mut taken = 0;
        while let Some(delivery) = records.next().await {
            let delivery = delivery.map_err(|error| describe(&error))?;
            taken += 1;
            if taken % STEP == 0 {
                let all = BasicAckOptions { multiple: true };
                channel.basic_ack(delivery.delivery_tag, all).await.map_err(|error| describe(&error))?;
            }
            let received = wire::receive(delivery);
            let Some(offset) = received.offset.filter(|offset| *offset < end) else { return Ok(()) };
            // Attached in the midst of a chunk, the broker may begin earlier.
            let is_wanted = offset >= self.offset && received.marker.is_none();
            if is_wanted && self.out.send(Ok(record(offset, received))).await.is_err() {
                return Ok(());
            }
        }
        Err(CANCELLED.to_owned())
    }
}

impl Stream {
    /// Where it ends now.
    pub(super) async fn end(&self) -> Result<u64, String> {
        let (session, connection) = self.connect().await?;
        let end = tokio::select! {
            end = self.end_over(&connection) => end,
            reason = session.health.failed() => Err(reason),
        };
        let _ = connection.close(200, "OK".into()).await;
        end
    }

    /// A connection of its own: a slow reader must not hold up the deliveries of the others.
    async fn connect(&self) -> Result<(Arc<Session>, Connection), String> {
        let session = self.core.session.borrow().clone().ok_or("the broker is away")?;
        let connection = connect(&session.host, "reading").await.map_err(|error| error.to_string())?;
        Ok((session, connection))
    }

    /// Where the log ends now: the offset of a marker that is appended for this.
    async fn end_over(&self, connection: &Connection) -> Result<u64, String> {
        let (_channel, mut news) = self.attach(connection, AMQPValue::LongString("next".into())).await?;
        let marker = i64::from(self.core.chance.lock().unwrap_or_else(PoisonError::into_inner).u32(..));
        self.core.mark(self.log, marked(marker)).await.map_err(|error| error.to_string())?;
        while let Some(delivery) = news.next().await {
            let received = wire::receive(delivery.map_err(|error| describe(&error))?);
            if received.marker == Some(marker) {
                return Ok(received.offset.unwrap_or(0));
            }
        }
        Err(CANCELLED.to_owned())
    }

    async fn attach(&self, connection: &Connection, from: AMQPValue) -> Result<(Channel, lapin::Consumer), String> {
        let attached = async {
            let channel = connection.create_channel().await?;
            channel.basic_qos(CREDIT, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), from);
            let stream = self.core.names.log(self.log);
            let options = BasicConsumeOptions::default();
            let records = channel.basic_consume(stream.into(), "".into(), options, arguments).await?;
            Ok((channel, records))
        };
        attached.await.map_err(|error: lapin::Error| describe(&error))
    }
}

fn record(offset: u64, received: Received) -> Record {
    let mut message = received.message;
    if let Some(reason) = received.last_death {
        message.headers.set(LAST_DEATH, reason);
    }
    Record { offset, key: received.key, message }
}

/// The properties of a marker.
pub(super) fn marked(marker: i64) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(MARKER.into(), AMQPValue::LongLongInt(marker));
    BasicProperties::default().with_delivery_mode(2).with_headers(headers)
}
