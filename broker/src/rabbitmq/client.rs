//! What all parts of a [`RabbitMq`](super::RabbitMq) share: the session, the state of the connection, and publishing.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use lapin::BasicProperties;
use schemas::{DeadLetter, Message};
use service::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    connect::{BrokerHosts, connect},
    delays::{Delay, DelayLevel},
    error::TopologyError,
    message::{self, MessageForm, WrittenMessage},
    publish::{ChannelKind, PublishRequest, check_key},
    session::{Session, SessionSetup},
    topology::{self, Names},
};
use crate::{
    ConnectionState, Lane, Log, LogBytes, PublishError, Queue, QueueCount, QueueCounts, ReadError, Target, records,
};

/// Largest body that is packed, in bytes. A packed body is a copy; beside a larger one the bytes of properties are few.
const LARGEST_PACKED: usize = 16 * 1024;
/// Key of a batch of history records. Like the keys of the logs it ends with a tenant, which here is nobody.
const HISTORY_KEY: &str = "batch.-";

pub(super) struct RabbitMqClient {
    pub(super) hosts: BrokerHosts,
    pub(super) setup: SessionSetup,
    pub(super) exchanges: Exchanges,
    /// Bytes that the logs keep at most, by the configuration.
    pub(super) logs: LogBytes,
    pub(super) clock: Clock,
    pub(super) chance: Mutex<fastrand::Rng>,
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    pub(super) connection_state: watch::Sender<ConnectionState>,
    /// Bytes of the largest body that the broker takes, as far as it has said so.
    pub(super) max_body: AtomicUsize,
    /// True when every deliverer reads packed headers.
    pub(super) packs_deliveries: AtomicBool,
    /// What the last try found to be wrong with the topology.
    pub(super) defect: watch::Sender<Option<TopologyError>>,
    pub(super) stop: CancellationToken,
    pub(super) ended: CancellationToken,
}

/// Names that are made once and not for each message.
pub(super) struct Exchanges {
    events: String,
    ingest_slow: String,
    deliver: String,
    delay: String,
    dead: String,
    park: String,
    pub(super) history: String,
}

impl Exchanges {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            events: names.events.clone(),
            ingest_slow: names.queue(Queue::IngestSlow),
            deliver: names.of("deliver"),
            delay: names.of("delay"),
            dead: names.log(Log::Dead),
            park: names.log(Log::Parked),
            history: names.history(),
        }
    }

    fn log(&self, log: Log) -> &str {
        match log {
            Log::Dead => &self.dead,
            Log::Parked => &self.park,
        }
    }
}

impl RabbitMqClient {
    pub(super) fn random(&self) -> f64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    pub(super) fn random_marker(&self) -> i64 {
        i64::from(self.chance.lock().unwrap_or_else(PoisonError::into_inner).u32(..))
    }

    pub(super) async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        use ChannelKind as Kind;
        match to {
            Target::Ingest { key } => self.put(Kind::Ingest, &self.exchanges.events, key, None, message).await,
            Target::IngestSlow { key } => {
                self.put(Kind::IngestSlow, &self.exchanges.ingest_slow, key, None, message).await
            }
            Target::Log(log, key) => self.put(Kind::Log, self.exchanges.log(*log), key, None, message).await,
            Target::Lane(lane, None) => self.put(Kind::Lane, &self.exchanges.deliver, lane.name(), None, message).await,
            Target::Lane(lane, Some(due)) => {
                let now = (self.clock)();
                let delay = Delay::begin(*due, now);
                self.publish_delayed(*lane, delay.first(now), delay, message).await
            }
        }
    }

    /// Publishes to a delay level, or to the lane itself for a message that is due.
    pub(super) async fn publish_delayed(
        &self,
        lane: Lane,
        level: Option<&DelayLevel>,
        delay: Delay,
        message: &Message,
    ) -> Result<(), PublishError> {
        match level {
            Some(level) => {
                let key = format!("{}.{}", level.name, lane.name());
                self.put(ChannelKind::Lane, &self.exchanges.delay, &key, Some(delay), message).await
            }
            None => self.put(ChannelKind::Lane, &self.exchanges.deliver, lane.name(), Some(delay), message).await,
        }
    }

    /// Ends a delivery as a dead letter without its body, since the broker takes no more messages of its size.
    pub(super) async fn publish_too_large(&self, message: &Message) -> Result<(), PublishError> {
        let (letter, to, record) = records::too_large(message, (self.clock)()).ok_or(PublishError::TooLarge)?;
        self.publish(&to, &record).await?;
        let DeadLetter { delivery_id, event_id, tenant, endpoint_id, attempts, reason, .. } = letter;
        tracing::info!(%delivery_id, event_id, tenant, endpoint_id, attempts, %reason, "delivery.dead");
        Ok(())
    }

    /// Asks over a connection of its own, which an alarm does not block, and whose errors end no session.
    pub(super) async fn queue_counts(&self) -> Result<QueueCounts, ReadError> {
        let session = self.session.borrow().clone().ok_or_else(|| ReadError(self.why_away()))?;
        let SessionSetup { topology, names, .. } = &self.setup;
        let failed = |error: TopologyError| ReadError(error.to_string());
        let connection = connect(&session.host, "counting").await.map_err(failed)?;
        let found = topology::contents_on(&connection, topology, names).await.map_err(failed);
        connection.close().await;
        let found = found?;
        let count = |queue| {
            let name = names.queue(queue);
            let there = found.iter().find(|there| there.queue == name)?;
            let (waiting, consumers) = (u64::from(there.ready), Some(there.consumers));
            Some(QueueCount { queue, waiting, consumers, oldest_since: None })
        };
        let delays = names.of("delay.");
        let delayed = found.iter().filter(|there| there.queue.starts_with(&delays)).map(|there| u64::from(there.ready));
        Ok(QueueCounts { queues: Queue::ALL.into_iter().filter_map(count).collect(), delayed: delayed.sum() })
    }

    pub(super) async fn publish_marker(
        &self,
        log: Log,
        key: &str,
        properties: BasicProperties,
    ) -> Result<(), PublishError> {
        self.mark_end(self.exchanges.log(log), key, properties).await
    }

    /// Appends a marker to the stream behind an exchange.
    pub(super) async fn mark_end(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
    ) -> Result<(), PublishError> {
        let properties = Box::new(properties);
        self.send(PublishRequest { kind: ChannelKind::Log, exchange, key, properties, body: &[] }).await
    }

    /// Appends a batch of history records.
    pub(super) async fn append_history(&self, batch: &Message) -> Result<(), PublishError> {
        self.put(ChannelKind::Log, &self.exchanges.history, HISTORY_KEY, None, batch).await
    }

    async fn put(
        &self,
        kind: ChannelKind,
        exchange: &str,
        key: &str,
        delay: Option<Delay>,
        message: &Message,
    ) -> Result<(), PublishError> {
        check_key(key)?;
        // Sending it would cost the session.
        if message.body.len() > self.max_body.load(Relaxed) {
            return Err(PublishError::TooLarge);
        }
        let form = if kind == ChannelKind::Lane { self.delivery_form(message) } else { MessageForm::Named };
        let WrittenMessage { properties, body } = message::write(message, form, delay, (self.clock)())?;
        self.send(PublishRequest { kind, exchange, key, properties, body: &body }).await
    }

    fn delivery_form(&self, delivery: &Message) -> MessageForm {
        let is_packed = delivery.body.len() <= LARGEST_PACKED && self.packs_deliveries.load(Relaxed);
        if is_packed { MessageForm::Packed } else { MessageForm::Named }
    }

    async fn send(&self, request: PublishRequest<'_>) -> Result<(), PublishError> {
        let session = self.session.borrow().clone();
        match session {
            None => Err(PublishError::Away(self.why_away())),
            Some(session) => match session.health.blocked() {
                Some(reason) => Err(PublishError::Blocked(reason)),
                None => session.publish(request, &self.max_body).await,
            },
        }
    }

    fn why_away(&self) -> String {
        match &*self.connection_state.borrow() {
            ConnectionState::Away(reason) => reason.clone(),
            ConnectionState::Blocked(_) | ConnectionState::Ready => "the session has just ended".to_owned(),
        }
    }
}
