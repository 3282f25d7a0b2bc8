//! What is asked of the writer, and a message as the file keeps it.

use std::sync::mpsc;

use bytes::Bytes;
use schemas::{Headers, Message};
use tokio::sync::oneshot;

use super::{
    codec::{self, Damaged},
    tap::Tap,
};
use crate::{Lane, Log, PublishError, Queue, Settlement, Target};

/// One thing to do. Sent to the writer's thread, which does many in one transaction.
pub(super) enum Command {
    /// Store a message, and answer after the commit.
    Publish { slot: Slot, row: Row, reply: oneshot::Sender<Result<(), PublishError>> },
    /// A message that was handed out is given back.
    Settle { at: Queue, seq: i64, settlement: Settlement },
    /// Somebody wants messages.
    Consume { from: Queue, tap: Tap },
    /// And no more.
    Leave { from: Queue, tap: u64 },
    /// Do what is queued, end, and say so.
    Close(oneshot::Sender<()>),
    /// End; nobody waits.
    Abandon,
}

/// Where a message is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Queue(Queue),
    /// Until when, in unix milliseconds.
    Later(Lane, u64),
    Log(Log),
}

impl Slot {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Ingest { .. } => Self::Queue(Queue::Ingest),
            Target::Lane(lane, None) => Self::Queue(Queue::Lane(*lane)),
            Target::Lane(lane, Some(due)) => Self::Later(*lane, due.at),
            Target::Log(log, _) => Self::Log(*log),
        }
    }
}

/// A message as it is stored; encoded by who publishes, so that the writer's thread does not have to.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) headers: Vec<u8>,
    pub(super) body: Bytes,
}

impl Row {
    pub(super) fn of(target: &Target, message: &Message) -> Self {
        let (key, due) = match target {
            Target::Ingest { key } | Target::Log(_, key) => (key.as_str(), None),
            Target::Lane(lane, due) => (lane.name(), due.map(|due| due.at)),
        };
        Self {
            id: message.id.clone(),
            kind: message.kind.clone(),
            key: key.to_owned(),
            headers: codec::encode(&message.headers, due),
            body: message.body.clone(),
        }
    }

    /// Reads the columns `id, kind, key, headers, body`, in this order, from the column `first` on.
    pub(super) fn read(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(first)?,
            kind: row.get(first + 1)?,
            key: row.get(first + 2)?,
            headers: row.get(first + 3)?,
            body: row.get::<_, Vec<u8>>(first + 4)?.into(),
        })
    }

    /// The bytes it weighs, about.
    pub(super) fn size(&self) -> usize {
        self.headers.len() + self.body.len() + OVERHEAD
    }

    /// Its headers, as far as they can be read.
    pub(super) fn headers(&self) -> Headers {
        codec::decode(&self.headers).unwrap_or_default()
    }

    pub(super) fn into_message(self) -> Result<(Message, String), Damaged> {
        let headers = codec::decode(&self.headers)?;
        Ok((Message { id: self.id, kind: self.kind, headers, body: self.body }, self.key))
    }
}

/// What a message takes beside headers and body: id, type, key, offset, the database's own.
pub(super) const OVERHEAD: usize = 128;

/// Ends a consumer's hand-out when it is dropped.
pub(super) struct Leave {
    from: Queue,
    tap: u64,
    commands: mpsc::Sender<Command>,
}

impl Leave {
    pub(super) fn new(from: Queue, tap: u64, commands: mpsc::Sender<Command>) -> Self {
        Self { from, tap, commands }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Leave { from: self.from, tap: self.tap });
    }
}
