//! Subscriptions: what waits at an inlet, handed out with prefetch, on each session anew.

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
    acker::{self, Settled},
    core::Core,
    error::{describe, describe_without},
    ladder::{Level, Wait},
    session::Session,
    wire::{self, Received},
};
use crate::{Incoming, Lane, PublishError, Queue, Settlement, consumer::Grants};

/// A quorum queue serves a consumer no further than about this, so more prefetch takes more consumers.
pub(super) const CREDIT_OF_ONE: u16 = 500;

/// For the broker to grant a consumer; a queue that is electing its leader takes some seconds.
const SUBSCRIBE: Duration = Duration::from_secs(30);

/// One consumer, over all sessions.
pub(super) struct Subscription {
    pub(super) core: Arc<Core>,
    pub(super) inlet: Queue,
    pub(super) prefetch: u16,
    pub(super) out: mpsc::Sender<Incoming>,
    /// Given while a session serves it.
    pub(super) grant: Grants,
}

/// Held while a session serves; its drop takes that back.
struct Granted<'a>(&'a Grants);

/// One consumer on one session.
struct Serving {
    channel: Channel,
    consumer: lapin::Consumer,
    settled: mpsc::UnboundedSender<Settled>,
    /// Cancelled once the session is over.
    over: CancellationToken,
}

impl Subscription {
    /// Hands out until nobody listens any more or the broker is closed.
    pub(super) async fn run(self) {
        let mut sessions = self.core.session.subscribe();
        loop {
            let session = tokio::select! {
                session = sessions.wait_for(|session| session.as_ref().is_some_and(|it| !it.health.has_failed())) =>
                    session.ok().and_then(|session| session.clone()),
                () = self.out.closed() => return,
                () = self.core.stop.cancelled() => return,
            };
            let Some(session) = session else { return };
            match self.serve(&session).await {
                Ok(()) => return,
                // Also says so: a channel error is the end of the session.
                Err(error) => session.health.fail(error),
            }
        }
    }

    /// Serves on one session. An error means that the session is over.
    async fn serve(&self, session: &Arc<Session>) -> Result<(), String> {
        let subscribed = timeout(SUBSCRIBE, self.subscribe(session)).await;
        let subscribed = subscribed.map_err(|_| format!("no consumer of {} was granted in 30 s", self.inlet.name()))?;
        let mut serving = subscribed.map_err(|error| describe_without("read", &error))?;
        let _granted = Granted::of(&self.grant);
        loop {
            tokio::select! {
                delivery = serving.consumer.next() => match delivery {
                    Some(Ok(delivery)) => self.hand_out(&serving, delivery).await,
                    Some(Err(error)) => return Err(describe(&error)),
                    // A queue that was deleted or moved; from 4.3 on also a consumer that took too long.
                    None => return Err(format!("the broker cancelled the consumer of {}", self.inlet.name())),
                },
                () = self.out.closed() => {
                    serving.cancel().await;
                    return Ok(());
                }
                () = self.core.stop.cancelled() => return Ok(()),
                reason = session.health.failed() => return Err(reason),
            }
        }
    }

    async fn subscribe(&self, session: &Arc<Session>) -> lapin::Result<Serving> {
        let channel = session.consuming.create_channel().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let queue = self.core.names.inlet(self.inlet);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        let (settled, to_write) = mpsc::unbounded_channel();
        let writing = acker::write(channel.clone(), to_write, session.health.clone(), self.core.stop.clone());
        session.ackers.spawn(writing);
        Ok(Serving { channel, consumer, settled, over: session.health.token() })
    }

    async fn hand_out(&self, serving: &Serving, delivery: Delivery) {
        let (tag, redelivered) = (delivery.delivery_tag, delivery.redelivered);
        let Received { message, key, count, wait, .. } = wire::receive(delivery);
        if let (Queue::Lane(lane), Some(wait)) = (self.inlet, wait)
            && let Some(level) = wait.next((self.core.clock)())
        {
            let hop = Hop { lane, wait, level, message, tag };
            tokio::spawn(hop.carry_out(Arc::clone(&self.core), serving.settled.clone()));
            return;
        }
        // What woke carries the level in its key.
        let key = match self.inlet {
            Queue::Lane(lane) => lane.name().to_owned(),
            Queue::Ingest => key,
        };
        let settled = serving.settled.clone();
        let settle = move |settlement| {
            let _ = settled.send((tag, settlement));
        };
        // Room is there: the prefetch is no larger. If nobody listens any more, dropping it gives it back.
        let mut incoming = Incoming::new(message, key, redelivered, count, settle);
        incoming.session = Some(serving.over.clone());
        let _ = self.out.send(incoming).await;
    }
}

impl<'a> Granted<'a> {
    fn of(grant: &'a Grants) -> Self {
        grant.receive();
        Self(grant)
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Serving {
    /// Stops the hand-out and gives back what was not handed out. What was can still be settled.
    async fn cancel(mut self) {
        if self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await.is_err() {
            return;
        }
        while let Some(Ok(delivery)) = self.consumer.next().await {
            let _ = self.settled.send((delivery.delivery_tag, Settlement::Again));
        }
    }
}

/// A message that woke before it is due and goes to the next level: publish, wait for the confirm, then settle. A crash
/// between the two repeats it, never loses it.
struct Hop {
    lane: Lane,
    wait: Wait,
    level: &'static Level,
    message: Message,
    tag: u64,
}

impl Hop {
    async fn carry_out(self, core: Arc<Core>, settled: mpsc::UnboundedSender<Settled>) {
        let mut link = core.link.subscribe();
        loop {
            match core.hop(self.lane, Some(self.level), self.wait, &self.message).await {
                Ok(()) => {
                    let _ = settled.send((self.tag, Settlement::Done));
                    return;
                }
                // The session is gone, and the message with it: it is handed out again.
                Err(PublishError::Away(_) | PublishError::Lost(_)) => return,
                // Never given back here: it would come again at once, and again.
                Err(PublishError::Blocked(_)) => {
                    let _ = link.wait_for(|link| !matches!(link, crate::ConnectionState::Blocked(_))).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            if settled.is_closed() {
                return;
            }
        }
    }
}
