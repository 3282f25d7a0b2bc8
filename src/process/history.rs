//! History in one process: who records, where the records go, and who writes them.

use std::sync::Arc;

use anyhow::Context as _;
use broker::{PublishError, rabbitmq::RabbitMq};
use bytes::Bytes;
use control::{HistoryInput, HistoryMetrics, HistoryUpkeep, HistoryWriter};
use futures_util::{FutureExt as _, future::BoxFuture};
use history::{Batch, History, Record, RecordSink, Recorder, RecorderMetrics};
use service::Exit;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    open_history::open_history,
    roles::{Roles, SharedDependencies},
};
use crate::config::Config;

/// First and longest pause before a batch is appended again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// Largest batch that is appended, in bytes, whatever the broker takes: RabbitMQ 4 takes 16 MiB by default.
const LARGEST_BATCH: usize = 15 << 20;

/// What this process does for history.
pub(super) struct HistoryTasks {
    pub(super) recorder: Recorder,
    /// What control reads; none without that role, or where nothing is recorded.
    pub(super) history: Option<Arc<dyn History>>,
    recording: Option<JoinHandle<()>>,
    writing: Option<JoinHandle<()>>,
    upkeep: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl HistoryTasks {
    /// Opens history and starts the tasks, as far as the roles need them. Without RabbitMQ all roles are in this process, and
    /// the recorder hands over to the writer.
    pub(super) async fn start(
        config: &Config,
        roles: Roles,
        shared: &SharedDependencies,
        rabbitmq: Option<&Arc<RabbitMq>>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = Self {
            recorder: Recorder::off(),
            history: None,
            recording: None,
            writing: None,
            upkeep: None,
            stop: stop.clone(),
        };
        if !config.history.is_on() || !(roles.router || roles.deliverer || roles.control) {
            return Ok(tasks);
        }
        let process = shared.outbox.process().to_owned();
        let (sink, input): (Box<dyn RecordSink>, _) = match rabbitmq {
            Some(rabbitmq) => {
                let followed = rabbitmq.clone();
                let follow = Box::new(move |offset| followed.follow_history(offset));
                (Box::new(ToStream(rabbitmq.clone())), HistoryInput::Stream(follow))
            }
            None => {
                let (sender, input) = HistoryInput::of_process(process.clone());
                (Box::new(ToWriter(sender)), input)
            }
        };
        let metrics = RecorderMetrics::register(&shared.registry)?;
        let (recorder, task) = Recorder::new(process.clone(), sink, shared.clock.clone(), metrics, stop.clone());
        (tasks.recorder, tasks.recording) = (recorder, Some(tokio::spawn(task.run())));
        if roles.control {
            let history = open_history(config).await.context(Exit::Config)?;
            let (clock, metrics) = (shared.clock.clone(), HistoryMetrics::register(&shared.registry)?);
            let keep_ms = schemas::time::millis(config.history.keep.0);
            let (written, counted) = (history.clone(), metrics.clone());
            let writer =
                HistoryWriter { history: written, process, keep_ms, clock: clock.clone(), metrics: counted, stop };
            let (store, config) = (shared.store.clone(), config.history.clone());
            let upkeep = HistoryUpkeep { history: history.clone(), store, config, clock, metrics };
            tasks.history = Some(history);
            tasks.writing = Some(tokio::spawn(writer.run(input)));
            tasks.upkeep = Some(tokio::spawn(upkeep.run()));
        }
        Ok(tasks)
    }

    /// Hands over and writes what was recorded, once the roles have ended.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        for task in [self.recording, self.writing].into_iter().flatten() {
            // A task that panicked has reported it.
            let _ = task.await;
        }
        if let Some(upkeep) = self.upkeep {
            upkeep.abort();
            // Until then it holds the store.
            let _ = upkeep.await;
        }
        if let Some(history) = self.history {
            history.close().await;
        }
    }
}

/// Hands batches to the writer of the same process.
struct ToWriter(mpsc::Sender<Batch>);

impl RecordSink for ToWriter {
    fn hand_over(&self, batch: Batch) -> BoxFuture<'_, ()> {
        async {
            // The writer ends only after the recorder.
            let _ = self.0.send(batch).await;
        }
        .boxed()
    }
}

/// Appends batches to the stream of the broker.
struct ToStream(Arc<RabbitMq>);

impl RecordSink for ToStream {
    fn hand_over(&self, batch: Batch) -> BoxFuture<'_, ()> {
        async {
            let mut batch = batch;
            let mut bytes = Bytes::from(batch.encode());
            let mut pause = PAUSES[0];
            loop {
                let appended = match bytes.len() > LARGEST_BATCH {
                    true => Err(PublishError::TooLarge),
                    false => self.0.append_history(bytes.clone()).await,
                };
                match appended {
                    Ok(()) => return,
                    Err(PublishError::TooLarge) if has_bodies(&batch) => {
                        tracing::warn!(bytes = bytes.len(), "history.bodies_left_out");
                        batch.records.iter_mut().for_each(leave_out_bodies);
                        bytes = batch.encode().into();
                    }
                    Err(PublishError::TooLarge) => return,
                    Err(error) => {
                        tracing::debug!(%error, "history.not_appended");
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSES[1]);
                    }
                }
            }
        }
        .boxed()
    }
}

fn has_bodies(batch: &Batch) -> bool {
    batch
        .records
        .iter()
        .any(|record| matches!(record, Record::Event(event) if event.bodies.iter().any(|body| !body.is_empty())))
}

/// Keeps the places of the bodies, to which deliveries refer.
fn leave_out_bodies(record: &mut Record) {
    if let Record::Event(event) = record {
        event.bodies.iter_mut().for_each(|body| *body = Bytes::new());
    }
}
