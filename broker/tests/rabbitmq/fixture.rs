//! A topology of its own on a node for one test: our broker, and beside it a bare AMQP channel for what only an operator or a
//! foreign program would do. Its drop removes everything.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use broker::{
    Broker, BrokerConfig, ConnectionState, Consumer, Incoming, Log, Logs, Record, Settlement, rabbitmq::RabbitMq,
};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use schemas::Message;
use service::Clock;
use tokio::time::timeout;

/// How long anything may take on a busy machine before a test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) config: BrokerConfig,
    pub(crate) broker: RabbitMq,
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Fixture {
    /// Starts on the shared node.
    pub(crate) async fn start() -> Self {
        let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
        Self::start_on(url).await
    }

    pub(crate) async fn start_on(url: &str) -> Self {
        let config = unique(url);
        let broker = connect(&config);
        timeout(TIMEOUT, broker.first_session()).await.expect("in time").expect("a topology");
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { config, broker, channel, _connection: connection }
    }

    /// The full name of an exchange or queue.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}.v1.{part}", self.config.prefix)
    }

    /// Publishes as a foreign program would, and waits for the confirm.
    pub(crate) async fn publish_foreign(&self, exchange: &str, key: &str, id: &str, headers: FieldTable) {
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_message_id(id.into()).with_headers(headers);
        let sent = self.channel.basic_publish(
            self.name(exchange).into(),
            key.into(),
            BasicPublishOptions::default(),
            b"{}",
            properties,
        );
        assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    }

    pub(crate) async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let (queue, exchange) = (self.name(queue).into(), self.name(exchange).into());
        self.channel.queue_unbind(queue, exchange, key.into(), FieldTable::default()).await.expect("unbound");
    }

    /// All records of a log.
    pub(crate) async fn read(&self, log: Log, offset: u64) -> Vec<Record> {
        let records = self.broker.read(log, offset).map(|record| record.expect("a record")).collect();
        timeout(TIMEOUT, records).await.expect("the log ends")
    }

    /// The first parked record, once there is one. Only reading the log shows when the broker has dead-lettered a message.
    pub(crate) async fn parked(&self) -> Record {
        let found = async {
            loop {
                if let Some(record) = self.read(Log::Parked, 0).await.into_iter().next() {
                    return record;
                }
            }
        };
        timeout(TIMEOUT, found).await.expect("something is parked")
    }

    /// Waits until the state of the connection is as wanted.
    pub(crate) async fn until(&self, what: impl FnMut(&ConnectionState) -> bool) -> ConnectionState {
        timeout(TIMEOUT, self.broker.connection_state().wait_for(what))
            .await
            .expect("in time")
            .expect("a state")
            .clone()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        crate::node::remove_topology(&self.config);
    }
}

/// A prefix and an exchange that nobody else uses.
pub(crate) fn unique(url: &str) -> BrokerConfig {
    let unique = format!("test-{:016x}", fastrand::u64(..));
    BrokerConfig {
        url: url.to_owned(),
        exchange: format!("{unique}.events"),
        prefix: unique,
        declare: true,
        max_bytes: 0,
        dead_letters_bytes: 10_000_000_000,
        parked_bytes: 5_000_000_000,
    }
}

pub(crate) fn connect(config: &BrokerConfig) -> RabbitMq {
    RabbitMq::connect(config, clock(), fastrand::Rng::new()).expect("a url")
}

/// The real time, because a real broker uses it too.
#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the clock")]
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        u64::try_from(since.as_millis()).expect("before the year 500 million")
    })
}

pub(crate) fn message(id: &str) -> Message {
    Message { id: id.to_owned(), kind: "ticket.created".to_owned(), ..Message::default() }
}

/// The next message, which must come.
pub(crate) async fn next(consumer: &mut Consumer) -> Incoming {
    timeout(TIMEOUT, consumer.next()).await.expect("a message comes").expect("the broker is open")
}

/// Takes and settles messages until all of these ids were seen; they may come more than once.
pub(crate) async fn take_all(consumer: &mut Consumer, ids: impl IntoIterator<Item = String>) {
    let mut missing: BTreeSet<String> = ids.into_iter().collect();
    while !missing.is_empty() {
        let Ok(Some(incoming)) = timeout(TIMEOUT, consumer.next()).await else { panic!("{missing:?} never came") };
        missing.remove(&incoming.message.id);
        incoming.settle(Settlement::Done);
    }
}
