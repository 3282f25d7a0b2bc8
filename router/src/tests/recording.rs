//! The memory broker, recording the order in which messages were confirmed and settled.

use std::sync::{Arc, Mutex};

use broker::{
    Broker, BrokerLayer, Consumer, Incoming, Prefetch, PublishError, Queue, Settlement, Target, memory::Memory,
};
use futures_util::{FutureExt, future::BoxFuture};
use schemas::{Message, wire};
use tokio::{sync::mpsc, task::JoinHandle};

/// What happened at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A publish was confirmed: of a delivery to this endpoint, or a record of a log.
    Confirmed(String),
    /// An event was settled.
    Settled(Settlement),
}

/// The memory broker, and what happened at it in order.
#[derive(Clone)]
pub(super) struct RecordingBroker {
    memory: Memory,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl RecordingBroker {
    /// With nothing seen yet.
    pub(super) fn on(memory: &Memory) -> Self {
        Self { memory: memory.clone(), steps: Arc::default() }
    }

    /// What happened so far, in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    fn note(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }
}

impl BrokerLayer for RecordingBroker {
    fn inner(&self) -> &dyn Broker {
        &self.memory
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        async move {
            Broker::publish(&self.memory, to, message).await?;
            let what = message.headers.text(wire::ENDPOINT).unwrap_or("record");
            self.note(Step::Confirmed(what.to_owned()));
            Ok(())
        }
        .boxed()
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        let mut consumer = self.memory.consume(from, prefetch);
        let (sender, receiver) = mpsc::channel(usize::from(prefetch.messages));
        let recording = self.clone();
        let task = tokio::spawn(async move {
            while let Some(incoming) = consumer.next().await {
                if sender.send(recording.watch(incoming)).await.is_err() {
                    return;
                }
            }
        });
        Consumer::new(receiver, Aborts(task))
    }
}

impl RecordingBroker {
    fn watch(&self, incoming: Incoming) -> Incoming {
        let (message, key) = (incoming.message.clone(), incoming.key.clone());
        let (redelivered, count, recording) = (incoming.redelivered, incoming.count, self.clone());
        let session = incoming.session.clone();
        let mut watched = Incoming::new(message, key, redelivered, count, move |settlement| {
            recording.note(Step::Settled(settlement));
            incoming.settle(settlement);
        });
        watched.session = session;
        watched
    }
}

struct Aborts(JoinHandle<()>);

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.abort();
    }
}
