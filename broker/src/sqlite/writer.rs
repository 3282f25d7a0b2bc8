//! The thread that owns the file. It takes what is waiting, does it in one transaction, and only then answers.
//!
//! When a transaction fails (the disk is full, a stranger holds the file) the publishes in it are refused, the link
//! says `Blocked`, and it is tried again until one succeeds. Nothing is lost by that: what was settled is kept for the
//! next transaction, what was to be handed out is still in its table.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rusqlite::TransactionBehavior;
use service::Clock;
use tokio::sync::{oneshot, watch};

use super::{
    command::Command,
    log::Ends,
    open::Opened,
    tables::{Picks, Publish, Tables},
};
use crate::{ConnectionState, Incoming, PublishError, Queue, Settlement};

/// What is said to who comes too late.
pub(super) const CLOSED: &str = "the embedded broker is closed";

/// How much goes into one transaction: enough to make the disk's flush cheap for each, few enough to be quick.
const COMMANDS: usize = 512;
const BYTES: usize = 4 * 1024 * 1024;
/// How often a file that could not be written is tried again.
const PROBE: Duration = Duration::from_millis(250);
/// The longest sleep: the clock may jump, which a sleep does not notice.
const DOZE: Duration = Duration::from_secs(1);

/// The writer and all it owns.
pub(super) struct Writer {
    file: Opened,
    tables: Tables,
    inbox: mpsc::Receiver<Command>,
    /// Goes into every message that is handed out, to settle it by.
    commands: mpsc::Sender<Command>,
    link: watch::Sender<ConnectionState>,
    clock: Clock,
    /// Set while transactions fail: when to try again.
    probe: Option<Instant>,
}

/// How it ends: whom to tell.
type End = Option<oneshot::Sender<()>>;

impl Writer {
    pub(super) fn new(
        file: Opened,
        inbox: mpsc::Receiver<Command>,
        commands: mpsc::Sender<Command>,
        link: watch::Sender<ConnectionState>,
        clock: Clock,
    ) -> rusqlite::Result<Self> {
        let tables = Tables::load(&file.connection)?;
        Ok(Self { file, tables, inbox, commands, link, clock, probe: None })
    }

    pub(super) fn ends(&self) -> Arc<Ends> {
        self.tables.ends.clone()
    }

    /// Works until it is told to end.
    pub(super) fn run(mut self) {
        let end = loop {
            let (publishes, end) = self.gather();
            self.carry_out(publishes);
            if let Some(end) = end {
                break end;
            }
        };
        self.close(end);
    }

    /// Waits until there is something to do, then takes all there is, within bounds.
    fn gather(&mut self) -> (Vec<Publish>, Option<End>) {
        let (mut publishes, mut commands, mut bytes) = (Vec::new(), 0, 0);
        let mut next = self.wait();
        while let Some(command) = next {
            match command {
                Command::Publish { slot, row, reply } => {
                    bytes += row.size();
                    publishes.push(Publish { slot, row, reply });
                }
                Command::Settle { at, seq, settlement } => self.tables.at(at).settle(seq, settlement),
                Command::Consume { from, tap } => self.tables.at(from).join(tap),
                Command::Leave { from, tap } => self.tables.at(from).leave(tap),
                Command::Close(reply) => return (publishes, Some(Some(reply))),
                Command::Abandon => return (publishes, Some(None)),
            }
            commands += 1;
            // Looks before it takes: what is taken out of the inbox is done in this round.
            let full = commands == COMMANDS || bytes >= BYTES;
            next = if full { None } else { self.inbox.try_recv().ok() };
        }
        (publishes, None)
    }

    fn wait(&self) -> Option<Command> {
        let patience = match self.probe {
            Some(probe) => probe.saturating_duration_since(Instant::now()),
            None if self.tables.has_work(self.now()) => Duration::ZERO,
            None => DOZE.min(Duration::from_millis((self.tables.wake() - self.now()).max(1).unsigned_abs())),
        };
        if patience.is_zero() { self.inbox.try_recv().ok() } else { self.inbox.recv_timeout(patience).ok() }
    }

    fn carry_out(&mut self, publishes: Vec<Publish>) {
        let now = self.now();
        if self.probe.is_some_and(|probe| probe > Instant::now()) {
            return answer(publishes, &Err(PublishError::Nacked));
        }
        if self.probe.is_none() && publishes.is_empty() && !self.tables.has_work(now) {
            return;
        }
        match self.transact(&publishes, now) {
            Ok(picks) => {
                self.tables.commit(&picks);
                self.recover();
                answer(publishes, &Ok(()));
                self.hand_out(picks);
            }
            Err(error) => {
                self.tables.rollback();
                self.block(&error);
                answer(publishes, &Err(PublishError::Nacked));
            }
        }
    }

    fn transact(&mut self, publishes: &[Publish], now: i64) -> rusqlite::Result<Picks> {
        let transaction = self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.probe.is_some() {
            // A transaction that writes nothing would prove nothing.
            transaction.execute(
                "INSERT INTO probe (one, tries) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET tries = tries + 1",
                [],
            )?;
        }
        let picks = self.tables.write(&transaction, publishes, now)?;
        transaction.commit()?;
        Ok(picks)
    }

    fn hand_out(&mut self, picks: Picks) {
        for (inlet, picks) in picks {
            for pick in picks {
                let (to, seq, count) = (pick.to, pick.seq, pick.count);
                let Ok((message, key)) = pick.row.into_message() else {
                    tracing::error!(inlet = inlet.name(), seq, "broker.unreadable_parked");
                    self.tables.at(inlet).condemn(seq);
                    continue;
                };
                // Refused only when the consumer has just gone: its drop gives the message back.
                let _ = to.try_send(Incoming::new(message, key, count > 0, count, self.way_back(inlet, seq)));
            }
        }
    }

    fn way_back(&self, at: Queue, seq: i64) -> impl FnOnce(Settlement) + Send + 'static {
        let commands = self.commands.clone();
        move |settlement| {
            // After the end it is too late: the next start hands the message out again.
            let _ = commands.send(Command::Settle { at, seq, settlement });
        }
    }

    fn block(&mut self, error: &rusqlite::Error) {
        self.probe = Some(Instant::now() + PROBE);
        self.link.send_replace(ConnectionState::Blocked(error.to_string()));
    }

    fn recover(&mut self) {
        if self.probe.take().is_some() {
            self.link.send_replace(ConnectionState::Ready);
        }
    }

    fn close(mut self, end: End) {
        self.link.send_replace(ConnectionState::Away(CLOSED.into()));
        self.tables.dismiss();
        // Saves the next start a recovery; a failure costs nothing else.
        let checkpoint = self.file.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::debug!(%error, "broker.not_checkpointed");
        }
        drop(self.inbox);
        drop(self.file.connection);
        drop(self.file.lock);
        if let Some(reply) = end {
            let _ = reply.send(());
        }
    }

    fn now(&self) -> i64 {
        i64::try_from((self.clock)()).unwrap_or(i64::MAX)
    }
}

fn answer(publishes: Vec<Publish>, with: &Result<(), PublishError>) {
    for publish in publishes {
        // Who no longer waits for the answer does not miss it.
        let _ = publish.reply.send(with.clone());
    }
}
