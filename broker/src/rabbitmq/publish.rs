//! Publishing: persistent, mandatory, confirmed and pipelined. Knows channels and confirms; where a target lies on the
//! broker is decided by its caller.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::Semaphore;

use super::{
    error::{describe, describe_without, refusal},
    health::Health,
    overdue::Overdue,
    refused::Refused,
    way::Way,
    wire,
};
use crate::PublishError;

/// Unconfirmed publishes per channel: enough to fill any link, few enough to redo after a cut.
const WINDOW: usize = 1000;
/// Log publishes under way at once; each needs a channel of its own.
const LOG_CHANNELS: usize = 8;

/// What is published, and where.
pub(super) struct Letter<'a> {
    pub(super) way: Way,
    pub(super) exchange: &'a str,
    pub(super) key: &'a str,
    pub(super) properties: BasicProperties,
    pub(super) body: &'a [u8],
}

/// The publishing side of one session.
pub(super) struct Publisher {
    ingest: Window,
    lane: Window,
    logs: Vec<Window>,
    turn: AtomicUsize,
    overdue: Overdue,
    refused: Refused,
    health: Health,
}

struct Window {
    channel: Channel,
    /// lapin numbers a publish and queues its frames in two steps; between two threads they could swap, and a confirm
    /// would then be the other one's. Held while a publish is first polled, never across an await.
    order: Mutex<()>,
    places: Semaphore,
}

impl Publisher {
    /// Opens the channels: the busy ones on a connection of their own, since lapin looks at each channel of a connection
    /// for every few frames.
    pub(super) async fn open(busy: &Connection, rare: &Connection, health: Health) -> lapin::Result<Self> {
        let mut logs = Vec::with_capacity(LOG_CHANNELS);
        for _ in 0..LOG_CHANNELS {
            logs.push(Window::open(rare, 1).await?);
        }
        Ok(Self {
            ingest: Window::open(busy, WINDOW).await?,
            lane: Window::open(busy, WINDOW).await?,
            logs,
            turn: AtomicUsize::new(0),
            overdue: Overdue::default(),
            refused: Refused::default(),
            health,
        })
    }

    /// Ends the session once a confirm is overdue, or refusals last too long. Runs until then.
    pub(super) async fn watch(&self) {
        tokio::select! {
            () = self.overdue.watch(&self.health) => {}
            () = self.refused.watch(&self.health) => {}
        }
    }

    /// Publishes and waits for the confirm.
    pub(super) async fn publish(&self, letter: Letter<'_>) -> Result<(), PublishError> {
        tokio::select! {
            biased;
            answer = self.send(letter) => answer,
            reason = self.health.failed() => Err(PublishError::Lost(reason)),
        }
    }

    async fn send(&self, letter: Letter<'_>) -> Result<(), PublishError> {
        let window = self.window(letter.way);
        let _place = window.places.acquire().await.map_err(|_| PublishError::Away(self.health.reason()))?;
        if let Some(reason) = self.health.blocked() {
            return Err(PublishError::Blocked(reason));
        }
        let _unconfirmed = self.overdue.enter();
        if letter.way == Way::Log {
            // Whoever had the channel before may have been dropped before its confirm came.
            let _ = window.channel.wait_for_confirms().await;
        }
        let (way, key, size) = (letter.way, letter.key, letter.body.len());
        match window.put(letter).await {
            Ok(Confirmation::Ack(None)) => {
                self.refused.take(way, key);
                Ok(())
            }
            Ok(Confirmation::Nack(_)) => {
                self.refused.refuse(way, key);
                Err(PublishError::Nacked)
            }
            Ok(Confirmation::Ack(Some(_))) => Err(self.returned(way)),
            Ok(Confirmation::NotRequested) => Err(self.lost("confirms are not enabled".to_owned())),
            Err(error) if is_too_large(&error, size) => {
                self.lost(describe(&error));
                Err(PublishError::TooLarge)
            }
            Err(error) => Err(self.lost(describe_without("write", &error))),
        }
    }

    /// A returned message on a shared channel means that the topology is broken, and that it may have been a neighbour's:
    /// all that is under way is published again, after the topology was looked at.
    fn returned(&self, way: Way) -> PublishError {
        if way != Way::Log {
            self.health.fail("a message was returned: the topology is incomplete");
        }
        PublishError::Unroutable
    }

    /// Any error closes the channel or the connection: the session is over.
    fn lost(&self, reason: String) -> PublishError {
        self.health.fail(reason.clone());
        PublishError::Lost(reason)
    }

    fn window(&self, way: Way) -> &Window {
        match way {
            Way::Ingest => &self.ingest,
            Way::Lane => &self.lane,
            Way::Log => &self.logs[self.turn.fetch_add(1, Ordering::Relaxed) % self.logs.len()],
        }
    }
}

impl Window {
    async fn open(connection: &Connection, places: usize) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, order: Mutex::new(()), places: Semaphore::new(places) })
    }

    async fn put(&self, letter: Letter<'_>) -> lapin::Result<Confirmation> {
        let Letter { exchange, key, properties, body, .. } = letter;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let mut publish = pin!(self.channel.basic_publish(exchange.into(), key.into(), options, body, properties));
        let confirm = poll_fn(|context| {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            publish.as_mut().poll(context)
        });
        confirm.await?.await
    }
}

/// Whether the broker closed the channel over a body of this very size: everything else on it suffers the same error.
fn is_too_large(error: &lapin::Error, size: usize) -> bool {
    refusal(error).is_some_and(|refusal| {
        let text = refusal.get_message().as_str();
        matches!(refusal.get_id(), 406 | 501) && text.contains(&format!("message size {size} is larger"))
    })
}

/// Refuses a key that no frame can carry.
pub(super) fn check_key(key: &str) -> Result<(), PublishError> {
    wire::short(key).map(drop)
}
