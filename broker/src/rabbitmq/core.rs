//! What all parts of one [`RabbitMq`](super::RabbitMq) share, and the road from a target to an exchange and a key.

use std::sync::{Arc, Mutex, PoisonError};

use lapin::BasicProperties;
use schemas::Message;
use service::Clock;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{
    address::Address,
    error::TopologyError,
    ladder::{Level, Wait},
    liveness::Beat,
    names::Names,
    publish::{Letter, check_key},
    session::Session,
    topology::Topology,
    way::Way,
    wire,
};
use crate::{BODY_LIMIT, BrokerConfig, ConnectionState, Lane, Log, PublishError, Target, notices::NoticeSender};

/// The current session, if there is one.
pub(super) type Current = Option<Arc<Session>>;

/// Shared by the supervisor, the subscriptions and whoever publishes.
pub(super) struct Core {
    pub(super) config: BrokerConfig,
    pub(super) address: Address,
    pub(super) names: Names,
    pub(super) topology: Topology,
    pub(super) exchanges: Exchanges,
    pub(super) clock: Clock,
    pub(super) chance: Mutex<fastrand::Rng>,
    pub(super) session: watch::Sender<Current>,
    pub(super) link: watch::Sender<ConnectionState>,
    /// Where it is told how quickly connections answer.
    pub(super) beats: broadcast::Sender<Beat>,
    /// Where notices are heard, whatever the session.
    pub(super) board: NoticeSender,
    /// What is wrong with the topology, since the last try; none while that is unknown or all is well.
    pub(super) defect: watch::Sender<Option<TopologyError>>,
    /// Says that it is to end.
    pub(super) stop: CancellationToken,
    /// Says that it has ended.
    pub(super) ended: CancellationToken,
}

/// The exchanges that are published to, spelt out once and not for each message.
pub(super) struct Exchanges {
    events: String,
    deliver: String,
    delay: String,
    dead: String,
    park: String,
}

impl Exchanges {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            events: names.events.clone(),
            deliver: names.of("deliver"),
            delay: names.of("delay"),
            dead: names.log(Log::Dead),
            park: names.log(Log::Parked),
        }
    }

    pub(super) fn log(&self, log: Log) -> &str {
        match log {
            Log::Dead => &self.dead,
            Log::Parked => &self.park,
        }
    }
}

impl Core {
    /// A number between 0 and 1.
    pub(super) fn chance(&self) -> f64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    /// Publishes to wherever the target lies, and waits for the confirm.
    pub(super) async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        match to {
            Target::Ingest { key } => self.put(Way::Ingest, &self.exchanges.events, key, None, message).await,
            Target::Log(log, key) => self.put(Way::Log, self.exchanges.log(*log), key, None, message).await,
            Target::Lane(lane, None) => self.put(Way::Lane, &self.exchanges.deliver, lane.name(), None, message).await,
            Target::Lane(lane, Some(due)) => {
                let now = (self.clock)();
                let wait = Wait::begin(*due, now);
                self.hop(*lane, wait.first(now), wait, message).await
            }
        }
    }

    /// Publishes to a level of the ladder, or to the lane itself when there is nothing left to wait for.
    pub(super) async fn hop(
        &self,
        lane: Lane,
        level: Option<&Level>,
        wait: Wait,
        message: &Message,
    ) -> Result<(), PublishError> {
        match level {
            Some(level) => {
                let key = format!("{}.{}", level.name, lane.name());
                self.put(Way::Lane, &self.exchanges.delay, &key, Some(wait), message).await
            }
            None => self.put(Way::Lane, &self.exchanges.deliver, lane.name(), Some(wait), message).await,
        }
    }

    async fn put(
        &self,
        way: Way,
        exchange: &str,
        key: &str,
        wait: Option<Wait>,
        message: &Message,
    ) -> Result<(), PublishError> {
        check_key(key)?;
        if message.body.len() > BODY_LIMIT {
            return Err(PublishError::TooLarge);
        }
        let properties = wire::properties(message, wait, (self.clock)())?;
        self.send(Letter { way, exchange, key, properties, body: &message.body }).await
    }

    /// Appends a record that only shows a reader where to stop.
    pub(super) async fn mark(&self, log: Log, properties: BasicProperties) -> Result<(), PublishError> {
        let exchange = self.exchanges.log(log);
        self.send(Letter { way: Way::Log, exchange, key: "marker.-", properties, body: &[] }).await
    }

    async fn send(&self, letter: Letter<'_>) -> Result<(), PublishError> {
        let session = self.session.borrow().clone();
        match session {
            None => Err(PublishError::Away(self.away())),
            Some(session) => match session.health.blocked() {
                Some(reason) => Err(PublishError::Blocked(reason)),
                None => session.publisher.publish(letter).await,
            },
        }
    }

    fn away(&self) -> String {
        match &*self.link.borrow() {
            ConnectionState::Away(reason) => reason.clone(),
            ConnectionState::Blocked(_) | ConnectionState::Ready => "the session has just ended".to_owned(),
        }
    }
}
