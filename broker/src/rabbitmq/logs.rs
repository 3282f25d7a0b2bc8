//! Reading a log, which is a stream that is consumed from an offset on. A log is read and never settled: a nack closes
//! the connection (docs/rabbitmq.md#streams-over-amqp-0-9-1). A stream does not show where it ends, so the reader
//! appends a marker and reads up to it (docs/rabbitmq.md#a-stream-has-no-end-marker).

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use lapin::{
    Channel, Connection,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    client::RabbitMqClient,
    connect::connect,
    error::describe,
    message::{self, LAST_DEATH, ReceivedMessage, marker_properties},
    session::Session,
};
use crate::{Log, PublishError, ReadError, Record};

/// Records that the broker sends ahead, which a stream consumer must say. A record may have a body of several MiB, and
/// nothing but this number bounds the bytes that a reader holds.
const PREFETCH: u16 = 10;
const ACK_STEP: usize = PREFETCH as usize / 2;
/// Longest wait for a record that is known to be there. Then the stream has stalled, and the reader ends with an error.
const STALLED: Duration = Duration::from_secs(30);

/// Time of the first try to find the end of a log.
const FIRST_TRY: Duration = Duration::from_secs(5);

/// The reason when a stream is deleted or its node stops.
const CANCELLED: &str = "the broker cancelled the reader";

pub(super) struct LogStream {
    pub(super) client: Arc<RabbitMqClient>,
    pub(super) log: Log,
}

pub(super) struct LogReading {
    pub(super) stream: LogStream,
    pub(super) offset: u64,
    pub(super) out: mpsc::Sender<Result<Record, ReadError>>,
}

impl LogReading {
    /// Reads to the end, or sends the reason why it cannot. Stops early when the receiver is dropped.
    pub(super) async fn run(self) {
        if let Err(reason) = self.read().await {
            let _ = self.out.send(Err(ReadError(reason))).await;
        }
    }

    async fn read(&self) -> Result<(), String> {
        let (session, connection, end) = self.stream.open().await?;
        let reading = async {
            // From an offset beyond the end the broker would wait until the log is that long.
            if self.offset < end { self.pass_on(&connection, end).await } else { Ok(()) }
        };
        let read = tokio::select! {
            read = reading => read,
            reason = session.health.failed() => Err(reason),
        };
        let _ = connection.close(200, "OK".into()).await;
        read
    }

    /// Passes on every record before `end`, without markers.
    async fn pass_on(&self, connection: &Connection, end: u64) -> Result<(), String> {
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let (channel, mut records) = self.stream.attach(connection, AMQPValue::LongLongInt(offset)).await?;
        let mut taken = 0;
        while let Some(delivery) = next_of(&mut records).await? {
            let delivery = delivery.map_err(|error| describe(&error))?;
            taken += 1;
            if taken % ACK_STEP == 0 {
                let all = BasicAckOptions { multiple: true };
                channel.basic_ack(delivery.delivery_tag, all).await.map_err(|error| describe(&error))?;
            }
            let received = message::receive(delivery);
            let Some(offset) = received.offset.filter(|offset| *offset < end) else { return Ok(()) };
            // The broker begins with the whole chunk that has the offset.
            let is_wanted = offset >= self.offset && received.marker.is_none();
            if is_wanted && self.out.send(Ok(record(offset, received))).await.is_err() {
                return Ok(());
            }
        }
        Err(CANCELLED.to_owned())
    }
}

impl LogStream {
    pub(super) async fn end(&self) -> Result<u64, String> {
        let (_, connection, end) = self.open().await?;
        let _ = connection.close(200, "OK".into()).await;
        Ok(end)
    }

    /// Opens a connection and finds the end of the log over it. Under load it was seen that nothing came for twenty
    /// seconds while other readers got on, so a first try is given up soon.
    async fn open(&self) -> Result<(Arc<Session>, Connection, u64), String> {
        match timeout(FIRST_TRY, self.try_to_open()).await {
            Ok(opened) => opened,
            Err(_) => self.try_to_open().await,
        }
    }

    async fn try_to_open(&self) -> Result<(Arc<Session>, Connection, u64), String> {
        let (session, connection) = self.connect().await?;
        let end = tokio::select! {
            end = self.end_over(&connection) => end,
            reason = session.health.failed() => Err(reason),
        };
        match end {
            Ok(end) => Ok((session, connection, end)),
            Err(error) => {
                let _ = connection.close(200, "OK".into()).await;
                Err(error)
            }
        }
    }

    /// A slow reader needs its own connection, because it would hold up other consumers.
    async fn connect(&self) -> Result<(Arc<Session>, Connection), String> {
        let session = self.client.session.borrow().clone().ok_or("the broker is away")?;
        let connection = connect(&session.host, "reading").await.map_err(|error| error.to_string())?;
        Ok((session, connection))
    }

    /// The log ends where a marker is appended.
    async fn end_over(&self, connection: &Connection) -> Result<u64, String> {
        let (_channel, mut new_records) = self.attach(connection, AMQPValue::LongString("next".into())).await?;
        let (marker, failed) = (self.client.random_marker(), |error: PublishError| error.to_string());
        self.client.publish_marker(self.log, marker_properties(marker)).await.map_err(failed)?;
        while let Some(delivery) = next_of(&mut new_records).await? {
            let received = message::receive(delivery.map_err(|error| describe(&error))?);
            if received.marker == Some(marker) {
                return Ok(received.offset.unwrap_or(0));
            }
        }
        Err(CANCELLED.to_owned())
    }

    async fn attach(&self, connection: &Connection, from: AMQPValue) -> Result<(Channel, lapin::Consumer), String> {
        let attached = async {
            let channel = connection.create_channel().await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), from);
            let stream = self.client.setup.names.log(self.log);
            let options = BasicConsumeOptions::default();
            let records = channel.basic_consume(stream.into(), "".into(), options, arguments).await?;
            Ok((channel, records))
        };
        attached.await.map_err(|error: lapin::Error| describe(&error))
    }
}

/// The next record of a stream, or an error when none comes for too long.
async fn next_of<S: Stream + Unpin>(records: &mut S) -> Result<Option<S::Item>, String> {
    let next = timeout(STALLED, records.next()).await;
    next.map_err(|_| format!("the broker sent no record for {} s", STALLED.as_secs()))
}

fn record(offset: u64, received: ReceivedMessage) -> Record {
    let mut message = received.message;
    if let Some(reason) = received.last_death {
        message.headers.set(LAST_DEATH, reason);
    }
    Record { offset, key: received.key, message }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stalls_ends_with_an_error() {
        let mut records = stream::iter([1]).chain(stream::pending());
        assert_eq!(next_of(&mut records).await, Ok(Some(1)));
        assert_eq!(next_of(&mut records).await.unwrap_err(), "the broker sent no record for 30 s");
        assert_eq!(next_of(&mut stream::empty::<u8>()).await, Ok(None));
    }
}
