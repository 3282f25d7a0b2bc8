//! Helpers that the scenarios are told with: publish these, take one, take these.

use std::{collections::BTreeSet, fmt::Display};

use broker::{Broker, Consumer, Lane, Log, Queue, Record, Settlement, Target};
use futures_util::{StreamExt, TryStreamExt};
use schemas::Message;

use crate::fixture::eventually;

pub(crate) const FAST: Queue = Queue::Lane(Lane::Fast);
pub(crate) const SLOW: Queue = Queue::Lane(Lane::Slow);

/// A message with this id.
pub(crate) fn message(id: impl Display) -> Message {
    let id = format!("{id}");
    Message { body: format!("the body of {id}").into(), id, kind: "ticket.created".into(), ..Message::default() }
}

/// The target of a lane, without a due time.
pub(crate) fn lane(lane: Lane) -> Target {
    Target::Lane(lane, None)
}

/// The target of an event.
pub(crate) fn ingest() -> Target {
    Target::Ingest { key: "acme.7.12.ticket.created".into() }
}

/// The target of an event that is put aside.
pub(crate) fn ingest_slow() -> Target {
    Target::IngestSlow { key: "acme.7.12.ticket.created".into() }
}

/// Publishes one message, and expects the confirm.
pub(crate) async fn publish(broker: &dyn Broker, to: &Target, message: &Message) {
    let confirmed = eventually("a publish is answered", broker.publish(to, message)).await;
    confirmed.expect("the publish is confirmed");
}

/// Publishes messages with these ids, one after the other.
pub(crate) async fn publish_all(broker: &dyn Broker, to: &Target, ids: impl IntoIterator<Item = u32>) {
    for id in ids {
        publish(broker, to, &message(id)).await;
    }
}

/// The next message.
pub(crate) async fn take(consumer: &mut Consumer) -> broker::Incoming {
    eventually("a message comes", consumer.next()).await.expect("the broker is open")
}

/// Takes and settles until all of these ids have come; returns all that came.
pub(crate) async fn take_all<T: ToString>(
    consumer: &mut Consumer,
    ids: impl IntoIterator<Item = T>,
) -> BTreeSet<String> {
    let mut missing: BTreeSet<String> = ids.into_iter().map(|id| id.to_string()).collect();
    let mut came = BTreeSet::new();
    while !missing.is_empty() {
        let incoming = take(consumer).await;
        missing.remove(&incoming.message.id);
        came.insert(incoming.message.id.clone());
        incoming.settle(Settlement::Done);
    }
    came
}

/// Reads a log to its end.
pub(crate) async fn read(broker: &dyn Broker, log: Log, offset: u64) -> Vec<Record> {
    let records = broker.read(log, offset).boxed().try_collect();
    eventually("a log ends", records).await.expect("the log can be read")
}
