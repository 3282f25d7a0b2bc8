//! Consuming: the messages of one queue, over all sessions.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt,
    future::join_all,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    message::Delivery,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use schemas::Message;
use tokio::{
    sync::mpsc,
    time::{interval, timeout},
};

use super::{
    client::RabbitMqClient,
    delays::{Delay, DelayLevel},
    error::{describe, describe_without},
    in_hand::{FromOpen, Growth, HeldMessage, InHand},
    message::{self, PROBE_TAKEN_KEY, ReceivedMessage, marker_properties},
    session::Session,
    settle::{ConsumingChannel, SettledTag},
};
use crate::{ConnectionState, Incoming, Lane, Log, PublishError, Queue, SessionEnd, Settlement, consumer::Grant};

/// Largest number of messages that are handed out before the consumer looks whether it is to end.
const AT_ONCE: usize = 64;
/// Time between two looks at the prefetch while no message comes.
const REVIEW: Duration = Duration::from_secs(1);

/// Longest time until the broker grants a consumer; a queue that elects its leader takes some seconds.
const SUBSCRIBE_TIME: Duration = Duration::from_secs(30);

/// Longest time for saying that a probe has come. Whoever sent the probe waits for twice as long.
const PROBE_ANSWER_TIME: Duration = Duration::from_secs(5);

pub(super) struct QueueConsumer {
    pub(super) client: Arc<RabbitMqClient>,
    pub(super) queue: Queue,
    pub(super) in_hand: Arc<InHand>,
    pub(super) out: mpsc::Sender<Incoming>,
    pub(super) grant: Grant,
}

/// Held while a session serves the consumer. Its drop requests the next grant.
struct Granted<'a>(&'a Grant);

/// The AMQP consumers of one session, whose messages come through one stream.
#[derive(Default)]
struct OpenConsumers {
    messages: SelectAll<BoxStream<'static, FromBroker>>,
    channels: Vec<ConsumingChannel>,
    /// The sum of their prefetches.
    prefetch: u16,
    /// Their messages in hand.
    in_hand: FromOpen,
}

/// A message of a consumer, and where it is settled. None: a consumer has ended, cancelled by this side or by the broker.
type FromBroker = Option<(lapin::Result<Delivery>, mpsc::UnboundedSender<SettledTag>)>;

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
        let mut open = OpenConsumers::default();
        self.begin(session, &mut open).await?;
        let _granted = Granted::of(&self.grant);
        let mut reviews = interval(REVIEW);
        loop {
            tokio::select! {
                message = open.messages.next(), if !open.messages.is_empty() => match message {
                    Some(message) => self.hand_out_all(session, &mut open, message).await?,
                    None => return Err(self.ended()),
                },
                // Messages of earlier consumers may have been settled while nothing came.
                _ = reviews.tick(), if !open.messages.is_empty() => self.adjust(session, &mut open).await?,
                () = self.in_hand.half_free(), if open.messages.is_empty() => self.begin(session, &mut open).await?,
                () = self.out.closed() => {
                    open.give_back().await;
                    return Ok(());
                }
                () = self.client.stop.cancelled() => {
                    // The consumers stay until the queue has taken the settlements: their drop would cancel them before.
                    tokio::select! {
                        () = session.settlers.wait() => {}
                        _ = session.health.failed() => {}
                    }
                    return Ok(());
                }
                reason = session.health.failed() => return Err(reason),
            }
        }
    }

    /// Hands out a message, and those that are there already: each further one costs no wake-up and no look at the rest.
    async fn hand_out_all(
        &self,
        session: &Arc<Session>,
        open: &mut OpenConsumers,
        first: FromBroker,
    ) -> Result<(), String> {
        let (mut next, mut taken) = (Some(first), 0);
        while let Some(message) = next {
            let (delivery, settled) = message.ok_or_else(|| self.ended())?;
            let delivery = delivery.map_err(|error| describe(&error))?;
            self.hand_out(session, &open.in_hand, delivery, settled).await;
            self.adjust(session, open).await?;
            taken += 1;
            next = if taken < AT_ONCE { open.messages.next().now_or_never().flatten() } else { None };
        }
        Ok(())
    }

    /// The queue was deleted or moved, or the consumer took too long with a message
    /// (docs/rabbitmq.md#a-consumer-that-takes-too-long).
    fn ended(&self) -> String {
        format!("the broker cancelled the consumer of {}", self.queue.name())
    }

    /// Opens the first consumer of a session, or the first one after a pause.
    async fn begin(&self, session: &Arc<Session>, open: &mut OpenConsumers) -> Result<(), String> {
        open.in_hand = FromOpen::default();
        self.subscribe(session, open, self.in_hand.first()).await
    }

    /// Asks the broker for more or less at a time, by what is in hand.
    async fn adjust(&self, session: &Arc<Session>, open: &mut OpenConsumers) -> Result<(), String> {
        if self.in_hand.is_full() {
            return self.pause(session, open).await;
        }
        match self.in_hand.growth(open.prefetch, &open.in_hand) {
            Some(Growth::Instead(prefetch)) => {
                self.pause(session, open).await?;
                open.in_hand = FromOpen::default();
                self.subscribe(session, open, self.in_hand.only(prefetch)).await
            }
            Some(Growth::Beside(prefetch)) => self.subscribe(session, open, prefetch).await,
            None => Ok(()),
        }
    }

    /// Opens one more consumer.
    async fn subscribe(&self, session: &Arc<Session>, open: &mut OpenConsumers, prefetch: u16) -> Result<(), String> {
        let queue = ShortString::from(self.client.setup.names.queue(self.queue));
        let subscribing = async {
            let channel = session.consuming.open_channel().await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumer = channel.basic_consume(queue.clone(), "".into(), options, none).await?;
            Ok((channel, consumer))
        };
        let subscribed = tokio::select! {
            subscribed = timeout(SUBSCRIBE_TIME, subscribing) => subscribed,
            reason = session.health.failed() => return Err(reason),
        };
        let subscribed = subscribed.map_err(|_| format!("no consumer of {} was granted in 30 s", self.queue.name()))?;
        let (channel, consumer) = subscribed.map_err(|error: lapin::Error| describe_without("read", &error))?;
        let (settled, to_write) = mpsc::unbounded_channel();
        let opened = ConsumingChannel::new(channel, queue, consumer.tag());
        let settling = opened.clone().settle(to_write, Arc::clone(session), self.client.stop.clone());
        session.settlers.spawn(settling);
        open.add(opened, consumer, settled, prefetch);
        Ok(())
    }

    /// Stops the hand-out, apart from what the broker has sent already: given back, it would come again with a higher
    /// count.
    async fn pause(&self, session: &Session, open: &mut OpenConsumers) -> Result<(), String> {
        let pausing = async {
            open.cancel().await;
            while let Some((delivery, settled)) = open.next_sent().await {
                self.hand_out(session, &open.in_hand, delivery, settled).await;
            }
        };
        tokio::select! {
            () = pausing => Ok(()),
            reason = session.health.failed() => Err(reason),
        }
    }

    async fn hand_out(
        &self,
        session: &Session,
        from: &FromOpen,
        delivery: Delivery,
        settled: mpsc::UnboundedSender<SettledTag>,
    ) {
        let (tag, redelivered) = (delivery.delivery_tag, delivery.redelivered);
        let received = message::receive(delivery);
        if let Some(probe) = received.probe() {
            tokio::spawn(answer_probe(Arc::clone(&self.client), probe, tag, settled));
            return;
        }
        let ReceivedMessage { message, key, count, delay, .. } = received;
        let held = self.in_hand.hold(from, message.body.len());
        if let (Queue::Lane(lane), Some(delay)) = (self.queue, delay)
            && let Some(level) = delay.next((self.client.clock)())
        {
            let hop = DelayHop { lane, delay, level, message, tag, _held: held };
            tokio::spawn(hop.run(Arc::clone(&self.client), settled));
            return;
        }
        // A delivery that has waited has the key of its delay level.
        let key = match self.queue {
            Queue::Lane(lane) => lane.name().to_owned(),
            Queue::Ingest | Queue::IngestSlow => key,
        };
        let settle = move |settlement| {
            let _ = settled.send((tag, settlement));
            drop(held);
        };
        // The channel has room for the prefetch. If the consumer is gone, the drop gives the message back.
        let mut incoming = Incoming::new(message, key, redelivered, count, settle);
        incoming.session = SessionEnd::at(session.health.token());
        let _ = self.out.send(incoming).await;
    }
}

/// Says in the log of parked messages that a probe has come this way, and settles it. No role sees it, and it is not
/// counted.
async fn answer_probe(client: Arc<RabbitMqClient>, probe: i64, tag: u64, settled: mpsc::UnboundedSender<SettledTag>) {
    let answer = client.publish_marker(Log::Parked, PROBE_TAKEN_KEY, marker_properties(probe));
    // Without an answer the probe would show that the intake is closed. Given back it expires, and shows that it is open.
    let is_answered = matches!(timeout(PROBE_ANSWER_TIME, answer).await, Ok(Ok(())));
    let _ = settled.send((tag, if is_answered { Settlement::Done } else { Settlement::Again }));
}

impl<'a> Granted<'a> {
    fn of(grant: &'a Grant) -> Self {
        grant.receive();
        Self(grant)
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl OpenConsumers {
    fn add(
        &mut self,
        channel: ConsumingChannel,
        consumer: lapin::Consumer,
        settled: mpsc::UnboundedSender<SettledTag>,
        prefetch: u16,
    ) {
        self.channels.push(channel);
        let messages = consumer.map(move |message| Some((message, settled.clone())));
        self.messages.push(messages.chain(stream::once(async { None })).boxed());
        self.prefetch += prefetch;
    }

    /// Asks the broker to send nothing more. What it has sent can still be read, and settled.
    async fn cancel(&mut self) {
        self.prefetch = 0;
        let cancelled = self.channels.drain(..).map(async |channel| channel.cancel().await);
        let _ = join_all(cancelled).await;
    }

    /// Stops the hand-out and gives back what is left of it. Messages already handed out can still be settled.
    async fn give_back(mut self) {
        self.cancel().await;
        while let Some((delivery, settled)) = self.next_sent().await {
            let _ = settled.send((delivery.delivery_tag, Settlement::Again));
        }
    }

    /// The next message that the broker had sent before the consumers were cancelled.
    async fn next_sent(&mut self) -> Option<(Delivery, mpsc::UnboundedSender<SettledTag>)> {
        loop {
            if let Some((Ok(delivery), settled)) = self.messages.next().await? {
                return Some((delivery, settled));
            }
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
    _held: HeldMessage,
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
