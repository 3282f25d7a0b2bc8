//! Publishing: persistent, mandatory, confirmed and pipelined. The caller decides which exchange and key a target has.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use service::{
    FairPermit, FairSemaphore,
    watchdog::{AgeCounter, EntryRound},
};
use tokio::{
    sync::{AcquireError, Semaphore, SemaphorePermit},
    task::yield_now,
};

use super::{
    connect::BrokerConnection,
    error::{describe, describe_without, refusal},
    health::SessionHealth,
    message,
    refusals::{INTAKE, Refusals},
};
use crate::{PublishError, PublishWindow, publish_window, records::tenant_of_key};

/// Largest number of publishes to the logs at once; each needs a channel of its own. With confirms after 5 ms, they are
/// some 12,000 a second.
const LOG_CHANNELS: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Ingest,
    /// For events that are put aside. They go over the channel for events, which a router does not need otherwise.
    IngestSlow,
    Lane,
    /// For a log, with one unconfirmed publish at a time. A log's exchange has no alternate exchange, so a message can be
    /// returned, and lapin gives a returned message to whichever confirm resolves next
    /// (docs/rabbitmq.md#returns-and-confirms-in-lapin). On the other kinds nothing is returned while the topology is
    /// complete.
    Log,
}

pub(super) struct PublishRequest<'a> {
    pub(super) kind: ChannelKind,
    pub(super) exchange: &'a str,
    pub(super) key: &'a str,
    pub(super) properties: Box<BasicProperties>,
    pub(super) body: &'a [u8],
}

impl<'a> PublishRequest<'a> {
    /// The queue of [`Refusals`]: one for all events, and one for each lane and delay level. `None` for a log, and for
    /// events that are put aside: a router goes on with an event that is refused there.
    fn queue(&self) -> Option<&'a str> {
        match self.kind {
            ChannelKind::Ingest => Some(INTAKE),
            ChannelKind::Lane => Some(self.key),
            ChannelKind::IngestSlow | ChannelKind::Log => None,
        }
    }
}

pub(super) struct SessionPublisher {
    ingest: ConfirmChannel,
    lane: ConfirmChannel,
    logs: LogChannels,
    unconfirmed: UnconfirmedAges,
    refusals: Refusals,
    health: SessionHealth,
}

impl SessionPublisher {
    /// Opens the busy channels. They are on a connection of their own, since lapin looks at each channel of a connection
    /// for every few frames.
    pub(super) async fn open(busy: &BrokerConnection, health: SessionHealth) -> lapin::Result<Self> {
        Ok(Self {
            ingest: ConfirmChannel::open(busy, PublishWindow::LARGEST).await?,
            lane: ConfirmChannel::open(busy, PublishWindow::LARGEST).await?,
            logs: LogChannels::new(),
            unconfirmed: UnconfirmedAges::default(),
            refusals: Refusals::default(),
            health,
        })
    }

    /// Ends the session once a confirm is overdue, or refusals last too long.
    pub(super) async fn watch(&self) {
        tokio::select! {
            () = self.unconfirmed.watch(&self.health) => {}
            () = self.refusals.watch(&self.health) => {}
            () = self.forget_given_up() => {}
        }
    }

    /// Frees what lapin keeps of publishes that were given up before their confirm. The channels of the logs do so before
    /// each publish.
    async fn forget_given_up(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            for kind in [ChannelKind::Ingest, ChannelKind::Lane] {
                if self.channel(kind).is_some_and(ConfirmChannel::forget_given_up) {
                    self.returned(kind);
                    return;
                }
            }
        }
    }

    /// Opens a channel on `rare` where a log needs one more. Lowers `max_body`, the bytes of the largest body that the
    /// broker takes, once the broker has refused a larger one.
    pub(super) async fn publish(
        &self,
        request: PublishRequest<'_>,
        rare: &BrokerConnection,
        max_body: &AtomicUsize,
    ) -> Result<(), PublishError> {
        tokio::select! {
            biased;
            answer = self.send(request, rare, max_body) => answer,
            reason = self.health.failed() => Err(PublishError::Lost(reason)),
        }
    }

    async fn send(
        &self,
        request: PublishRequest<'_>,
        rare: &BrokerConnection,
        max_body: &AtomicUsize,
    ) -> Result<(), PublishError> {
        let of_log;
        let channel = match self.channel(request.kind) {
            Some(channel) => channel,
            None => {
                // In place, opening a channel would make the future of each publish larger.
                of_log = Box::pin(self.logs.take(tenant_of_key(request.key), rare)).await;
                &*of_log.as_ref().map_err(|error| self.lost(describe(error)))?.channel
            }
        };
        let _slots = channel.acquire(request.body.len()).await.map_err(|_| PublishError::Away(self.health.reason()))?;
        if let Some(reason) = self.health.blocked() {
            return Err(PublishError::Blocked(reason));
        }
        let _unconfirmed = self.unconfirmed.enter();
        if request.kind == ChannelKind::Log {
            // The publish that had the channel before may have been dropped before its confirm came.
            let _ = Box::pin(channel.channel.wait_for_confirms()).await;
        }
        // Each publish wakes the thread that writes to the socket. What other tasks are about to publish goes with it when all
        // of them have done their other work before.
        yield_now().await;
        let (kind, queue, size) = (request.kind, request.queue(), request.body.len());
        match channel.publish(request).await {
            Ok(Confirmation::Ack(None)) => {
                if let Some(queue) = queue {
                    self.refusals.note_taken(queue);
                }
                Ok(())
            }
            Ok(Confirmation::Nack(_)) => {
                if let Some(queue) = queue {
                    self.refusals.note_refused(queue);
                }
                Err(PublishError::Nacked)
            }
            Ok(Confirmation::Ack(Some(_))) => Err(self.returned(kind)),
            Ok(Confirmation::NotRequested) => Err(self.lost("confirms are not enabled".to_owned())),
            Err(error) => {
                if let Some(limit) = largest_taken(&error) {
                    max_body.fetch_min(limit, Ordering::Relaxed);
                }
                let lost = self.lost(describe_without("write", &error));
                // Any other publish on the channel gets the error of the one that is too large.
                Err(if size > max_body.load(Ordering::Relaxed) { PublishError::TooLarge } else { lost })
            }
        }
    }

    /// A returned message on a shared channel means that the topology is incomplete, and the message may have been that
    /// of another publish. So the session ends, and all unconfirmed messages are published again once the topology was
    /// checked.
    fn returned(&self, kind: ChannelKind) -> PublishError {
        if kind != ChannelKind::Log {
            self.health.fail("a message was returned: the topology is incomplete");
        }
        PublishError::Unroutable
    }

    /// Any error closes the channel or the connection, and so ends the session.
    fn lost(&self, reason: String) -> PublishError {
        self.health.fail(reason.clone());
        PublishError::Lost(reason)
    }

    /// The channel that all publishes of a kind share; none for the logs.
    fn channel(&self, kind: ChannelKind) -> Option<&ConfirmChannel> {
        match kind {
            ChannelKind::Ingest | ChannelKind::IngestSlow => Some(&self.ingest),
            ChannelKind::Lane => Some(&self.lane),
            ChannelKind::Log => None,
        }
    }
}

/// The channels of the logs, which are opened when they are needed. Tenants share them fairly: whoever waits for one
/// holds a place among the deliveries of all.
struct LogChannels {
    slots: Arc<FairSemaphore>,
    /// Open channels that nobody uses.
    idle: Mutex<Vec<Arc<ConfirmChannel>>>,
}

/// A channel of one publish. Its drop lets the next one have it.
struct LogChannel<'a> {
    idle: &'a Mutex<Vec<Arc<ConfirmChannel>>>,
    channel: Arc<ConfirmChannel>,
    _slot: FairPermit,
}

impl LogChannels {
    fn new() -> Self {
        Self { slots: FairSemaphore::new(LOG_CHANNELS), idle: Mutex::default() }
    }

    async fn take(&self, tenant: &str, rare: &BrokerConnection) -> lapin::Result<LogChannel<'_>> {
        let _slot = self.slots.acquire(tenant, 1).await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => Arc::new(ConfirmChannel::open(rare, 1).await?),
        };
        Ok(LogChannel { idle: &self.idle, channel, _slot })
    }
}

impl Drop for LogChannel<'_> {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.channel.clone());
    }
}

struct ConfirmChannel {
    channel: Channel,
    /// Held while a publish is first polled, never across an await. lapin numbers a publish and queues its frames in two
    /// steps: between two threads they could change places, and with them their confirms
    /// (docs/rabbitmq.md#the-order-of-publishes-in-lapin).
    order: Mutex<()>,
    slots: Semaphore,
    /// The number of slots, free or not.
    window: u32,
}

impl ConfirmChannel {
    async fn open(connection: &BrokerConnection, window: u32) -> lapin::Result<Self> {
        let channel = connection.open_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, order: Mutex::new(()), slots: Semaphore::new(window as usize), window })
    }

    /// Waits for as many slots as a body of this size takes. One that is larger than all of them takes all.
    async fn acquire(&self, bytes: usize) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.slots.acquire_many(publish_window::permits(bytes).min(self.window)).await
    }

    async fn publish(&self, request: PublishRequest<'_>) -> lapin::Result<Confirmation> {
        let PublishRequest { exchange, key, properties, body, .. } = request;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let mut publish = pin!(self.channel.basic_publish(exchange.into(), key.into(), options, body, *properties));
        let confirm = poll_fn(|context| {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            publish.as_mut().poll(context)
        });
        confirm.await?.await
    }

    /// Frees what lapin keeps of given up publishes that are confirmed by now
    /// (docs/rabbitmq.md#publishes-that-are-given-up-in-lapin). True when one of them was returned.
    fn forget_given_up(&self) -> bool {
        // No publish begins meanwhile, so the second poll has no confirm to wait for.
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            if let Some(Ok(returned)) = self.channel.wait_for_confirms().now_or_never() {
                return !returned.is_empty();
            }
        }
        false
    }
}

/// Bytes of the largest body that the broker takes, if this is the error with which it refuses a larger one.
fn largest_taken(error: &lapin::Error) -> Option<usize> {
    let refusal = refusal(error).filter(|refusal| matches!(refusal.get_id(), 406 | 501))?;
    limit_in(refusal.get_message().as_str())
}

/// Reads the limit from the broker's words (docs/rabbitmq.md#the-largest-message), or from the refused size where they
/// name no limit.
fn limit_in(text: &str) -> Option<usize> {
    let number_after = |text: &str, words: &str| {
        let (_, number) = text.split_once(words)?;
        number.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    let (_, refusal) = text.split_once("message size ")?;
    let (size, limit) = refusal.split_once(" is larger than ")?;
    let below = size.parse::<usize>().ok()?.saturating_sub(1);
    Some(number_after(limit, "max size ").map_or(below, |limit| limit.min(below)))
}

pub(super) fn check_key(key: &str) -> Result<(), PublishError> {
    message::short(key).map(drop)
}

/// One round of [`UnconfirmedAges`]. A quorum queue elects a new leader in well under ten seconds
/// (docs/rabbitmq.md#a-leaders-death-costs-half-a-second), so what is unconfirmed after three rounds, 15 to 20 s, is
/// lost.
const ROUND: Duration = Duration::from_secs(5);

/// Counts unconfirmed publishes by their age, to notice an overdue confirm without a timer for each publish.
#[derive(Default)]
struct UnconfirmedAges(AgeCounter<4>);

struct UnconfirmedPublish<'a>(&'a UnconfirmedAges, EntryRound);

impl UnconfirmedAges {
    fn enter(&self) -> UnconfirmedPublish<'_> {
        UnconfirmedPublish(self, self.0.enter())
    }

    /// The clock stands still while the broker blocks.
    async fn watch(&self, health: &SessionHealth) {
        loop {
            health.unblocked_for(ROUND).await;
            if self.0.overdue() > 0 {
                health.fail("a publish was not confirmed for 15 s");
                return;
            }
            self.0.turn();
        }
    }
}

impl Drop for UnconfirmedPublish<'_> {
    fn drop(&mut self) {
        self.0.0.leave(self.1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_request_for_an_event_has_one_queue_whatever_its_key_and_one_for_a_log_or_an_event_put_aside_has_none() {
        let queue = |kind, key| {
            let properties = Box::default();
            PublishRequest { kind, exchange: "", key, properties, body: &[] }.queue()
        };
        assert_eq!(queue(ChannelKind::Ingest, "acme.7.-.ticket.created"), Some(INTAKE));
        assert_eq!(queue(ChannelKind::Ingest, "acme.7.-.ticket.closed"), Some(INTAKE));
        assert_eq!(queue(ChannelKind::Lane, "5s.slow"), Some("5s.slow"));
        assert_eq!(queue(ChannelKind::Log, "exhausted.acme"), None);
        assert_eq!(queue(ChannelKind::IngestSlow, "acme.7.-.ticket.closed"), None);
    }

    #[test]
    fn the_limit_of_a_broker_is_read_from_its_refusal() {
        let configured = "PRECONDITION_FAILED - message size 200000 is larger than configured max size 100000";
        assert_eq!(limit_in(configured), Some(100_000));
        let built_in = "PRECONDITION_FAILED - message size 536870913 is larger than max size 536870912";
        assert_eq!(limit_in(built_in), Some(536_870_912));
    }

    #[test]
    fn a_refusal_that_names_no_limit_bounds_the_size_that_it_names() {
        for text in [
            "message size 200000 is larger than allowed",
            "message size 200000 is larger than max size of this queue",
            "message size 200000 is larger than max size 200000",
        ] {
            assert_eq!(limit_in(text), Some(199_999), "{text}");
        }
        for text in ["", "PRECONDITION_FAILED - unknown delivery tag 1", "message size x is larger than max size 10"] {
            assert_eq!(limit_in(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_publish_that_is_not_confirmed_ends_the_session_after_fifteen_to_twenty_seconds() {
        let (unconfirmed, health, start) = (UnconfirmedAges::default(), SessionHealth::new(), Instant::now());
        let _unconfirmed = unconfirmed.enter();
        unconfirmed.watch(&health).await;
        assert!((15..=20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert!(health.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn confirmed_publishes_end_nothing_however_many_follow_one_another() {
        let (unconfirmed, health) = (UnconfirmedAges::default(), SessionHealth::new());
        let publishing = async {
            for _ in 0..100 {
                let _unconfirmed = unconfirmed.enter();
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
        };
        tokio::select! {
            () = unconfirmed.watch(&health) => panic!("{}", health.reason()),
            () = publishing => {}
        }
    }
}
