//! The commands that are sent to the writer's thread.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use super::{message::MessageRow, removal::Removal};
use crate::{Lane, Log, PublishError, Queue, ReadError, Settlement, Target, consumer::ConsumerFeed};

/// The writer executes many commands in one transaction.
pub(super) enum WriterCommand {
    /// Stores a message, and answers after the commit.
    Publish {
        to: RowTarget,
        row: Arc<MessageRow>,
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    Settle {
        at: Queue,
        seq: i64,
        settlement: Settlement,
    },
    AddConsumer {
        of: Queue,
        feed: ConsumerFeed,
    },
    RemoveConsumer {
        of: Queue,
        id: u64,
    },
    /// Removes something for good, piece by piece between transactions, and answers after the last one.
    Remove {
        removal: Removal,
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    /// Ends the writer after all earlier commands, and answers.
    Close(oneshot::Sender<()>),
    /// Ends the writer after all earlier commands.
    Abandon,
}

/// The table that a message is stored in.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowTarget {
    Queue(Queue),
    /// A lane, and the due time in unix milliseconds.
    Delayed(Lane, u64),
    Log(Log),
}

impl RowTarget {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Ingest { .. } => Self::Queue(Queue::Ingest),
            Target::IngestSlow { .. } => Self::Queue(Queue::IngestSlow),
            Target::Lane(lane, None) => Self::Queue(Queue::Lane(*lane)),
            Target::Lane(lane, Some(due)) => Self::Delayed(*lane, due.at),
            Target::Log(log, _) => Self::Log(*log),
        }
    }

    /// True for a message that nobody is to get at once. Others are stored first.
    pub(super) fn gives_way(self) -> bool {
        match self {
            // An event that is put aside is none of them, because until it is stored it holds a place among those that are routed.
            Self::Queue(queue) => queue == Queue::Lane(Lane::Slow),
            Self::Delayed(..) | Self::Log(_) => true,
        }
    }
}

/// Ends a consumer's subscription when it is dropped.
pub(super) struct SqliteSubscription {
    of: Queue,
    id: u64,
    commands: mpsc::Sender<WriterCommand>,
}

impl SqliteSubscription {
    pub(super) fn new(of: Queue, id: u64, commands: mpsc::Sender<WriterCommand>) -> Self {
        Self { of, id, commands }
    }
}

impl Drop for SqliteSubscription {
    fn drop(&mut self) {
        let _ = self.commands.send(WriterCommand::RemoveConsumer { of: self.of, id: self.id });
    }
}
