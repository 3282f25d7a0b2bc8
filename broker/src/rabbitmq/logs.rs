//! Reading a log, which is a stream that is consumed from an offset on. A log is read and never settled: a nack closes
//! the connection (docs/rabbitmq.md#streams-over-amqp-0-9-1). A stream does not show where it ends, so the reader
//! appends a marker and reads up to it (docs/rabbitmq.md#a-stream-has-no-end-marker).

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use schemas::{HeaderValue, wire};
use tokio::{sync::mpsc, time::timeout};

use super::{
    client::RabbitMqClient,
    connect::{BrokerConnection, connect},
    error::describe,
    message::{self, LAST_DEATH, MARKER_KEY, PARKED_AT, ReceivedMessage, marker_properties},
    session::Session,
};
use crate::{Log, PublishError, ReadError, Record};

/// Records that the broker sends ahead, which a stream consumer must say. A record may have a body of several MiB, and
/// nothing but this number bounds the bytes that a reader holds.
const PREFETCH: u16 = 10;
const ACK_STEP: usize = PREFETCH as usize / 2;
/// Longest wait for a record that is known to be there. Then the stream has stalled, and the reader ends with an error.
const STALLED: Duration = Duration::from_secs(30);

/// The reason when a stream is deleted or its node stops.
const CANCELLED: &str = "the broker cancelled the reader";

pub(super) struct LogStream {
    pub(super) client: Arc<RabbitMqClient>,
    /// Name of the stream and of its exchange.
    pub(super) name: String,
}

pub(super) struct LogReading {
    pub(super) stream: LogStream,
    pub(super) log: Log,
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
        let (session, connection) = self.stream.connect().await?;
        let read = tokio::select! {
            read = self.read_over(&connection) => read,
            reason = session.health.failed() => Err(reason),
        };
        connection.close().await;
        read
    }

    async fn read_over(&self, connection: &BrokerConnection) -> Result<(), String> {
        let end = self.stream.end_over(connection).await?;
        // From an offset beyond the end the broker would wait until the log is that long.
        if self.offset < end { self.pass_on(connection, end).await } else { Ok(()) }
    }

    /// Passes on every record before `end`, without markers.
    async fn pass_on(&self, connection: &BrokerConnection, end: u64) -> Result<(), String> {
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let mut records = self.stream.attach(connection, AMQPValue::LongLongInt(offset)).await?;
        loop {
            let received = records.next().await?;
            let Some(offset) = received.offset.filter(|offset| *offset < end) else { return Ok(()) };
            // The broker begins with the whole chunk that has the offset.
            let is_wanted = offset >= self.offset && received.marker.is_none();
            if is_wanted && self.out.send(Ok(record(self.log, offset, received))).await.is_err() {
                return Ok(());
            }
        }
    }
}

impl LogStream {
    pub(super) async fn end(&self) -> Result<u64, String> {
        let (session, connection) = self.connect().await?;
        let end = tokio::select! {
            end = self.end_over(&connection) => end,
            reason = session.health.failed() => Err(reason),
        };
        connection.close().await;
        end
    }

    /// A slow reader needs its own connection, because it would hold up other consumers.
    pub(super) async fn connect(&self) -> Result<(Arc<Session>, BrokerConnection), String> {
        let session = self.client.session.borrow().clone().ok_or("the broker is away")?;
        let connection = connect(&session.host, "reading").await.map_err(|error| error.to_string())?;
        Ok((session, connection))
    }

    /// The log ends where a marker is appended.
    pub(super) async fn end_over(&self, connection: &BrokerConnection) -> Result<u64, String> {
        let mut new_records = self.attach(connection, AMQPValue::LongString("next".into())).await?;
        let (marker, failed) = (self.client.random_marker(), |error: PublishError| error.to_string());
        self.client.mark_end(&self.name, MARKER_KEY, marker_properties(marker)).await.map_err(failed)?;
        loop {
            let received = new_records.next().await?;
            if received.marker == Some(marker) {
                return Ok(received.offset.unwrap_or(0));
            }
        }
    }

    pub(super) async fn attach(&self, connection: &BrokerConnection, from: AMQPValue) -> Result<Records, String> {
        let attached = async {
            let channel = connection.open_channel().await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), from);
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(self.name.as_str().into(), "".into(), options, arguments).await?;
            Ok(Records { channel, consumer, taken: 0 })
        };
        attached.await.map_err(|error: lapin::Error| describe(&error))
    }
}

/// The records of a stream from an offset on. The broker sends at most `PREFETCH` ahead of the acknowledgements.
pub(super) struct Records {
    channel: Channel,
    consumer: lapin::Consumer,
    taken: usize,
}

impl Records {
    /// The next record, which is known to be there.
    async fn next(&mut self) -> Result<ReceivedMessage, String> {
        let delivery = next_of(&mut self.consumer).await?;
        self.take(delivery).await
    }

    /// The next record, whenever it comes.
    pub(super) async fn wait(&mut self) -> Result<ReceivedMessage, String> {
        let delivery = self.consumer.next().await;
        self.take(delivery).await
    }

    async fn take(
        &mut self,
        delivery: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<ReceivedMessage, String> {
        let delivery = delivery.ok_or(CANCELLED)?.map_err(|error| describe(&error))?;
        self.taken += 1;
        if self.taken.is_multiple_of(ACK_STEP) {
            let all = BasicAckOptions { multiple: true };
            self.channel.basic_ack(delivery.delivery_tag, all).await.map_err(|error| describe(&error))?;
        }
        Ok(message::receive(delivery))
    }
}

/// The next record of a stream, or an error when none comes for too long.
async fn next_of<S: Stream + Unpin>(records: &mut S) -> Result<Option<S::Item>, String> {
    let next = timeout(STALLED, records.next()).await;
    next.map_err(|_| format!("the broker sent no record for {} s", STALLED.as_secs()))
}

fn record(log: Log, offset: u64, received: ReceivedMessage) -> Record {
    let mut message = received.message;
    if let Some(reason) = received.last_death {
        message.headers.set(LAST_DEATH, reason);
    }
    let is_parked_by_broker = log == Log::Parked && message.headers.text(wire::RECORD).is_none();
    if let Some(at) = received.parked_at.filter(|_| is_parked_by_broker) {
        message.headers.set(PARKED_AT, HeaderValue::Int(i64::try_from(at).unwrap_or(i64::MAX)));
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
