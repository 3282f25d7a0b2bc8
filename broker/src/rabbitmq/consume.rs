//! Consuming: the messages of one queue, over all sessions.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use schemas::Message;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    client::RabbitMqClient,
    delays::{Delay, DelayLevel},
    error::{describe, describe_without},
    message::{self, ReceivedMessage},
    session::Session,
    settle::{self, SettledTag},
};
use crate::{ConnectionState, Incoming, Lane, PublishError, Queue, Settlement, consumer::Grants};

/// Largest prefetch of one AMQP consumer. A quorum queue sends one consumer hardly more
/// (docs/rabbitmq.md#the-prefetch-of-a-quorum-queue), so a larger prefetch takes several consumers.
pub(super) const MAX_PREFETCH: u16 = 500;

/// Longest time until the broker grants a consumer; a queue that elects its leader takes some seconds.
const SUBSCRIBE_TIME: Duration = Duration::from_secs(30);

pub(super) struct QueueConsumer {
    pub(super) client: Arc<RabbitMqClient>,
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
    pub(super) out: mpsc::Sender<Incoming>,
    pub(super) grants: Grants,
}

/// Held while a session serves the consumer. Its drop requests the next grant.
struct Granted<'a>(&'a Grants);

struct OpenConsumer {
    channel: Channel,
    consumer: lapin::Consumer,
    settled: mpsc::UnboundedSender<SettledTag>,
    session_over: CancellationToken,
}

impl QueueConsumer {
    /// Hands out messages until the consumer is dropped or the broker is closed.
    pub(super) async fn run(self) {
        let mut sessions = self.client.session.subscribe();
        loop {
            let session = tokio::select! {
                session = sessions.wait_for(|session| session.as_ref().is_some_and(|it| !it.health.has_failed())) =>
                    session.ok().and_then(|session| session.clone()),
                () = self.out.closed() => return,
                () = self.client.stop.cancelled() => return,
            };
            let Some(session) = session else { return };
            match self.serve(&session).await {
                Ok(()) => return,
                // A channel error ends the whole session.
                Err(error) => session.health.fail(error),
            }
        }
    }

    /// Hands out messages on one session. An error means that the session is over.
    async fn serve(&self, session: &Arc<Session>) -> Result<(), String> {
        let subscribed = timeout(SUBSCRIBE_TIME, self.subscribe(session)).await;
        let subscribed = subscribed.map_err(|_| format!("no consumer of {} was granted in 30 s", self.queue.name()))?;
        let mut open = subscribed.map_err(|error| describe_without("read", &error))?;
        let _granted = Granted::of(&self.grants);
        loop {
            tokio::select! {
                delivery = open.consumer.next() => match delivery {
                    Some(Ok(delivery)) => self.hand_out(&open, delivery).await,
                    Some(Err(error)) => return Err(describe(&error)),
                    // The queue was deleted or moved, or the consumer took too long with a message:
                    // docs/rabbitmq.md#a-consumer-that-takes-too-long
                    None => return Err(format!("the broker cancelled the consumer of {}", self.queue.name())),
                },
                () = self.out.closed() => {
                    open.cancel().await;
                    return Ok(());
                }
                () = self.client.stop.cancelled() => return Ok(()),
                reason = session.health.failed() => return Err(reason),
            }
        }
    }

    async fn subscribe(&self, session: &Arc<Session>) -> lapin::Result<OpenConsumer> {
        let channel = session.consuming.create_channel().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let queue = self.client.setup.names.queue(self.queue);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        let (settled, to_write) = mpsc::unbounded_channel();
        let writing = settle::write(channel.clone(), to_write, session.health.clone(), self.client.stop.clone());
        session.settlers.spawn(writing);
        Ok(OpenConsumer { channel, consumer, settled, session_over: session.health.token() })
    }

    async fn hand_out(&self, open: &OpenConsumer, delivery: Delivery) {
        let (tag, redelivered) = (delivery.delivery_tag, delivery.redelivered);
        let ReceivedMessage { message, key, count, delay, .. } = message::receive(delivery);
        if let (Queue::Lane(lane), Some(delay)) = (self.queue, delay)
            && let Some(level) = delay.next((self.client.clock)())
        {
            let hop = DelayHop { lane, delay, level, message, tag };
            tokio::spawn(hop.run(Arc::clone(&self.client), open.settled.clone()));
            return;
        }
        // A delivery that has waited has the key of its delay level.
        let key = match self.queue {
            Queue::Lane(lane) => lane.name().to_owned(),
            Queue::Ingest => key,
        };
        let settled = open.settled.clone();
        let settle = move |settlement| {
            let _ = settled.send((tag, settlement));
        };
        // The channel has room for the prefetch. If the consumer is gone, the drop gives the message back.
        let mut incoming = Incoming::new(message, key, redelivered, count, settle);
        incoming.session = Some(open.session_over.clone());
        let _ = self.out.send(incoming).await;
    }
}

impl<'a> Granted<'a> {
    fn of(grants: &'a Grants) -> Self {
        grants.receive();
        Self(grants)
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl OpenConsumer {
    /// Stops the hand-out and gives back what is left of it. Messages already handed out can still be settled.
    async fn cancel(mut self) {
        if self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await.is_err() {
            return;
        }
        while let Some(Ok(delivery)) = self.consumer.next().await {
            let _ = self.settled.send((delivery.delivery_tag, Settlement::Again));
        }
    }
}

/// The hop of a message that is not due yet to the next delay level: publish, await the confirm, then settle. A crash
/// between the two repeats the message and never loses it.
struct DelayHop {
    lane: Lane,
    delay: Delay,
    level: &'static DelayLevel,
    message: Message,
    tag: u64,
}

impl DelayHop {
    async fn run(self, client: Arc<RabbitMqClient>, settled: mpsc::UnboundedSender<SettledTag>) {
        let mut connection = client.connection_state.subscribe();
        loop {
            let published = match client.publish_delayed(self.lane, Some(self.level), self.delay, &self.message).await {
                // The broker takes less than when the wait began.
                Err(PublishError::TooLarge) => client.publish_too_large(&self.message).await,
                published => published,
            };
            match published {
                Ok(()) => {
                    let _ = settled.send((self.tag, Settlement::Done));
                    return;
                }
                // The session is over, so the message is handed out again.
                Err(PublishError::Away(_) | PublishError::Lost(_)) => return,
                // A message that is given back would come again at once, over and over.
                Err(PublishError::Blocked(_)) => {
                    let _ = connection.wait_for(|state| !matches!(state, ConnectionState::Blocked(_))).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            if settled.is_closed() {
                return;
            }
        }
    }
}
