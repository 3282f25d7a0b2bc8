//! An AMQP client that is no part of carteiro: it publishes any messages to the public exchange, declares and deletes
//! queues, and captures what is published to any exchange.

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::sync::watch;

use super::Site;

/// A client with a connection of its own to a site's broker.
pub(crate) struct AmqpClient {
    exchange: String,
    channel: Channel,
    _connection: Connection,
}

/// A message to publish to the public exchange.
#[derive(Clone, Copy)]
pub(crate) struct AmqpMessage<'a> {
    pub(crate) key: &'a str,
    /// The property `message_id`.
    pub(crate) id: Option<&'a str>,
    /// The header `carteiro-tenant`.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl AmqpClient {
    pub(crate) async fn connect(site: &Site) -> Self {
        let broker = site.broker();
        let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { exchange: broker.exchange.clone(), channel, _connection: connection }
    }

    /// Publishes a message, and waits for the confirm.
    pub(crate) async fn publish(&self, message: &AmqpMessage<'_>) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = message.id {
            properties = properties.with_message_id(id.into());
        }
        if let Some(tenant) = message.tenant {
            let mut headers = FieldTable::default();
            headers.insert("carteiro-tenant".into(), AMQPValue::LongString(tenant.into()));
            properties = properties.with_headers(headers);
        }
        let (exchange, key) = (self.exchange.as_str().into(), message.key.into());
        let sent = self.channel.basic_publish(exchange, key, BasicPublishOptions::default(), message.body, properties);
        assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    }

    /// Declares a durable queue without any arguments.
    pub(crate) async fn declare_plain(&self, queue: &str) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("declared");
    }

    /// Deletes a queue, and the messages in it.
    pub(crate) async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
    }

    /// Removes the binding of a queue that takes everything from an exchange.
    pub(crate) async fn unbind(&self, queue: &str, exchange: &str) {
        let unbound = self.channel.queue_unbind(queue.into(), exchange.into(), "#".into(), FieldTable::default());
        unbound.await.expect("unbound");
    }

    /// Takes what waits in a queue and gives it back, until it was handed out too often and the broker has parked it all.
    pub(crate) async fn give_back_until_parked(&self, queue: &str) {
        while let Some(got) = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("got") {
            // From RabbitMQ 4.3 on only a reject counts.
            got.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.expect("given back");
        }
    }

    /// Captures a copy of each message that is published to these exchanges from now on. Messages that no other queue gets
    /// are then not unroutable any more.
    pub(crate) async fn capture(&self, exchanges: &[&str]) -> watch::Receiver<Vec<CapturedMessage>> {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare("".into(), options, FieldTable::default()).await.expect("declared");
        let queue = queue.name().clone();
        for exchange in exchanges {
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            let bound = self.channel.queue_bind(queue.clone(), (*exchange).into(), "#".into(), options, none);
            bound.await.expect("bound");
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumed = self.channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let mut copies = consumed.await.expect("consumed");
        let (writer, captured) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Some(Ok(copy)) = copies.next().await {
                writer.send_modify(|captured| captured.push(CapturedMessage::of(&copy)));
            }
        });
        captured
    }
}

/// A message that was published to an exchange.
#[derive(Clone, Debug)]
pub(crate) struct CapturedMessage {
    pub(crate) exchange: String,
    /// The routing key, the properties and the headers, except `carteiro-record`.
    pub(crate) metadata: String,
    /// The header `carteiro-record`.
    pub(crate) record: String,
    pub(crate) body: Vec<u8>,
}

impl CapturedMessage {
    fn of(message: &lapin::message::Delivery) -> Self {
        let none = FieldTable::default();
        let headers = message.properties.headers().as_ref().unwrap_or(&none).inner();
        let (mut metadata, mut record) = (format!("{}\n", message.routing_key), String::new());
        for (name, value) in headers {
            match name.as_str() {
                "carteiro-record" => record = text(value),
                name => metadata += &format!("{name}: {}\n", text(value)),
            }
        }
        metadata += &format!("{:?}", message.properties.clone().with_headers(none));
        let mut body = message.data.clone();
        // A delivery has its id, type and headers packed in front of its body.
        if let Ok(packed) = schemas::Message::unpack(&body.clone().into()) {
            metadata += &format!("\n{}\n{}\n", packed.id, packed.kind);
            metadata.extend(packed.headers.iter().map(|(name, value)| match value {
                schemas::HeaderValue::Int(value) => format!("{name}: {value}\n"),
                schemas::HeaderValue::Text(value) => format!("{name}: {value}\n"),
            }));
            body = packed.body.into();
        }
        Self { exchange: message.exchange.to_string(), metadata, record, body }
    }
}

fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(text).collect::<Vec<_>>().join(", "),
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    }
}
