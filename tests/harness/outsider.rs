//! Somebody else's program on the broker: it publishes to the public exchange what it likes, and may declare queues.

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};

use super::Site;

/// A connection of its own to a site's broker.
pub(crate) struct Outsider {
    exchange: String,
    channel: Channel,
    _connection: Connection,
}

/// What it publishes.
#[derive(Clone, Copy)]
pub(crate) struct Letter<'a> {
    /// The routing key.
    pub(crate) key: &'a str,
    /// The property `message_id`.
    pub(crate) id: Option<&'a str>,
    /// The header `carteiro-tenant`.
    pub(crate) tenant: Option<&'a str>,
    /// Anything.
    pub(crate) body: &'a [u8],
}

impl Outsider {
    pub(crate) async fn on(site: &Site) -> Self {
        let broker = site.broker();
        let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { exchange: broker.exchange.clone(), channel, _connection: connection }
    }

    /// Publishes, and waits for the confirm.
    pub(crate) async fn publish(&self, letter: &Letter<'_>) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = letter.id {
            properties = properties.with_message_id(id.into());
        }
        if let Some(tenant) = letter.tenant {
            let mut headers = FieldTable::default();
            headers.insert("carteiro-tenant".into(), AMQPValue::LongString(tenant.into()));
            properties = properties.with_headers(headers);
        }
        let (exchange, key) = (self.exchange.as_str().into(), letter.key.into());
        let sent = self.channel.basic_publish(exchange, key, BasicPublishOptions::default(), letter.body, properties);
        assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    }

    /// Declares a queue as RabbitMQ makes them when nothing else is said.
    pub(crate) async fn declare_plain(&self, queue: &str) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("declared");
    }

    /// Deletes a queue, whatever is in it.
    pub(crate) async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
    }
}
