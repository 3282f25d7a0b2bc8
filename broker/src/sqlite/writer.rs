//! The thread that owns the file. It executes the waiting commands in one transaction, and only then answers.
//!
//! After a failed transaction (another process has the file) its publishes are refused, the connection state is
//! `Blocked`, and further transactions are tried until one succeeds. Nothing is lost: settlements are kept for the next
//! transaction, and messages to hand out are still in their table.
//!
//! Long before the disk is full, [`Space`] refuses events, so that the rest can go on and makes room. When SQLite finds
//! the disk full nevertheless, what was to be one transaction is tried in parts, deletions first.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{ErrorCode, TransactionBehavior};
use service::Clock;
use tokio::sync::{oneshot, watch};

use super::{
    checkpoints::Checkpoints,
    command::WriterCommand,
    free_pages::FreePages,
    gathering::Gathering,
    logs::LogEnds,
    open::BrokerFile,
    queue::MAX_GIVING_WAY,
    removal::Removals,
    space::Space,
    tables::{Picks, Publish, Tables},
};
use crate::{ConnectionState, Incoming, LogBytes, PublishError, Queue, Settlement};

pub(super) const CLOSED: &str = "the embedded broker is closed";

/// Largest number of commands in one transaction: many share the disk's flush, and still end quickly.
const MAX_COMMANDS: usize = 512;
/// Size of the publishes in one transaction, in bytes, after which it takes no further one: what comes meanwhile waits for its
/// end. Those that give way have as many bytes of their own.
const MAX_BYTES: usize = 1024 * 1024;
/// Size from which on a publish gives way, in bytes. A few of that size take as long as hundreds of others.
const LARGE_BYTES: usize = 64 * 1024;
/// Pause before a file that could not be written is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Longest sleep. The clock may jump, and a sleep does not notice that.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    file: BrokerFile,
    checkpoints: Checkpoints,
    tables: Tables,
    space: Space,
    free_pages: FreePages,
    gathering: Gathering,
    inbox: mpsc::Receiver<WriterCommand>,
    /// Publishes that give way, in their order.
    giving_way: VecDeque<Publish>,
    removals: Removals,
    /// Goes into every message that is handed out, to settle it.
    commands: mpsc::Sender<WriterCommand>,
    connection_state: watch::Sender<ConnectionState>,
    clock: Clock,
    /// `None` unless transactions fail.
    retry_at: Option<Instant>,
}

/// `None` when nobody waits for the writer's end.
type EndReply = Option<oneshot::Sender<()>>;

impl Writer {
    pub(super) fn new(
        file: BrokerFile,
        checkpoints: Checkpoints,
        mut space: Space,
        logs: LogBytes,
        (commands, inbox): (mpsc::Sender<WriterCommand>, mpsc::Receiver<WriterCommand>),
        connection_state: watch::Sender<ConnectionState>,
        clock: Clock,
    ) -> rusqlite::Result<Self> {
        // The room is known, and shown, before the first message.
        space.prepare(&file.connection, 0);
        let tables = Tables::load(&file.connection, logs)?;
        let free_pages = FreePages::of(&file.connection)?;
        Ok(Self {
            file,
            checkpoints,
            tables,
            space,
            free_pages,
            gathering: Gathering::new(Instant::now()),
            inbox,
            giving_way: VecDeque::new(),
            removals: Removals::default(),
            commands,
            connection_state,
            clock,
            retry_at: None,
        })
    }

    pub(super) fn ends(&self) -> Arc<LogEnds> {
        self.tables.ends.clone()
    }

    pub(super) fn run(mut self) {
        let end = loop {
            let (publishes, end) = self.gather();
            if end.is_some() {
                self.tables.delete_settled_now();
            }
            self.carry_out(publishes);
            self.removals.go_on(&mut self.file.connection, &mut self.tables);
            if let Some(end) = end {
                break end;
            }
        };
        self.close(end);
    }

    /// Waits for work, and then takes all waiting commands, within bounds. Publishes that give way come last.
    fn gather(&mut self) -> (Vec<Publish>, Option<EndReply>) {
        let (mut publishes, mut commands, mut bytes) = (Vec::new(), 0, 0);
        let mut next = self.wait();
        let pause = self.gathering.pause(Instant::now());
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        while let Some(command) = next {
            match command {
                WriterCommand::Publish { to, row, reply } => {
                    let publish = Publish { to, row, reply };
                    if to.gives_way() || publish.row.size() >= LARGE_BYTES {
                        self.giving_way.push_back(publish);
                    } else {
                        bytes += publish.row.size();
                        publishes.push(publish);
                    }
                }
                WriterCommand::Settle { at, seq, settlement } => self.tables.settle(at, seq, settlement),
                WriterCommand::AddConsumer { of, feed } => self.tables.at(of).add_consumer(feed),
                WriterCommand::RemoveConsumer { of, id } => self.tables.at(of).remove_consumer(id),
                WriterCommand::Remove { removal, reply } => {
                    // What is settled goes before.
                    self.tables.delete_settled_now();
                    self.removals.add(removal, reply);
                }
                WriterCommand::Close(reply) => return (self.with_those_that_gave_way(publishes), Some(Some(reply))),
                WriterCommand::Abandon => return (self.with_those_that_gave_way(publishes), Some(None)),
            }
            commands += 1;
            // A command that is taken must be executed in this round, so this comes before the next one is taken.
            let full = commands == MAX_COMMANDS || bytes >= MAX_BYTES;
            next = if full { None } else { self.inbox.try_recv().ok() };
        }
        self.gathering.note(commands, Instant::now());
        let most = if publishes.is_empty() { MAX_COMMANDS } else { MAX_GIVING_WAY };
        let mut given_way = 0;
        for _ in 0..most {
            if given_way >= MAX_BYTES {
                break;
            }
            let Some(publish) = self.giving_way.pop_front() else { break };
            given_way += publish.row.size();
            publishes.push(publish);
        }
        (publishes, None)
    }

    fn with_those_that_gave_way(&mut self, mut publishes: Vec<Publish>) -> Vec<Publish> {
        publishes.extend(self.giving_way.drain(..));
        publishes
    }

    fn wait(&self) -> Option<WriterCommand> {
        let pause = match self.retry_at {
            Some(retry_at) => retry_at.saturating_duration_since(Instant::now()),
            None if !self.giving_way.is_empty() || self.tables.has_work(self.now()) => Duration::ZERO,
            None => {
                let now = self.now();
                let next_work = Duration::from_millis((self.tables.next_work(now) - now).max(1).unsigned_abs());
                let mut pause = LONGEST_SLEEP.min(next_work);
                if self.tables.are_drained() {
                    pause = pause.min(self.free_pages.wait());
                }
                let others = self.tables.settled_wait().into_iter().chain(self.removals.wait());
                others.fold(pause, Duration::min)
            }
        };
        if pause.is_zero() { self.inbox.try_recv().ok() } else { self.inbox.recv_timeout(pause).ok() }
    }

    fn carry_out(&mut self, publishes: Vec<Publish>) {
        let now = self.now();
        if self.retry_at.is_some_and(|retry_at| retry_at > Instant::now()) {
            return answer(publishes, &Err(PublishError::Nacked));
        }
        let publishes = self.admit(publishes);
        if self.retry_at.is_none() && publishes.is_empty() && !self.tables.has_work(now) {
            if self.tables.are_drained() {
                self.free_pages.give_back(&self.file.connection);
            }
            return;
        }
        match self.transact(Some(&publishes), now) {
            Ok(picks) => {
                self.tables.commit(&picks);
                self.recover();
                answer(publishes, &Ok(()));
                self.hand_out(picks);
            }
            Err(error) if is_disk_full(&error) => {
                self.tables.rollback();
                self.carry_out_in_parts(publishes, now);
            }
            Err(error) => {
                self.tables.rollback();
                self.block(&error);
                answer(publishes, &Err(PublishError::Nacked));
            }
        }
    }

    /// Answers publishes for which there is no room, and returns the others.
    fn admit(&mut self, mut publishes: Vec<Publish>) -> Vec<Publish> {
        let bytes: usize = publishes.iter().map(|publish| publish.row.size()).sum();
        self.space.prepare(&self.file.connection, bytes as u64);
        if !self.space.is_open() {
            for publish in publishes.extract_if(.., |publish| self.space.admit(publish.to).is_err()) {
                let refused = self.space.admit(publish.to).map_err(PublishError::Full);
                let _ = publish.reply.send(refused);
            }
        }
        publishes
    }

    /// Does on a full disk what a transaction could not do as a whole. Deletions and hand-outs hardly need room, and are
    /// done first. Then each message is stored by itself, so that a small one does not fail with a large one.
    fn carry_out_in_parts(&mut self, publishes: Vec<Publish>, now: i64) {
        self.space.exhausted();
        match self.transact(None, now) {
            Ok(picks) => {
                self.tables.commit(&picks);
                self.recover();
                self.hand_out(picks);
            }
            Err(error) => {
                self.tables.rollback();
                self.block(&error);
                return answer(publishes, &Err(PublishError::Nacked));
            }
        }
        let mut publishes = self.admit(publishes).into_iter().map(|publish| vec![publish]).collect::<Vec<_>>();
        if publishes.is_empty() {
            // Deliveries that are due still have to move.
            publishes.push(Vec::new());
        }
        for publish in publishes {
            match self.transact(Some(&publish), now) {
                Ok(picks) => {
                    self.tables.commit(&picks);
                    answer(publish, &Ok(()));
                    self.hand_out(picks);
                }
                Err(error) => {
                    self.tables.rollback();
                    self.retry_at = Some(Instant::now() + RETRY_PAUSE);
                    answer(publish, &Err(PublishError::Full(error.to_string())));
                }
            }
        }
    }

    /// Without `publishes`, the transaction stores and moves nothing.
    fn transact(&mut self, publishes: Option<&[Publish]>, now: i64) -> rusqlite::Result<Picks> {
        let transaction = self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.retry_at.is_some() {
            // Only a transaction that writes shows that the file can be written.
            transaction.execute(
                "INSERT INTO probe (one, tries) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET tries = tries + 1",
                [],
            )?;
        }
        let picks = match publishes {
            Some(publishes) => self.tables.write(&transaction, publishes, now)?,
            None => self.tables.write_deletions(&transaction, now)?,
        };
        transaction.commit()?;
        Ok(picks)
    }

    fn hand_out(&mut self, picks: Picks) {
        for (queue, picks) in picks {
            for pick in picks {
                let (to, seq, count) = (pick.to, pick.seq, pick.count);
                let Ok((message, key)) = Arc::unwrap_or_clone(pick.row).into_message() else {
                    tracing::error!(queue = queue.name(), seq, "broker.unreadable_parked");
                    self.tables.at(queue).park(seq);
                    continue;
                };
                // Fails only when the consumer has just gone. The drop gives the message back.
                let _ = to.try_send(Incoming::new(message, key, count > 0, count, self.settler(queue, seq)));
            }
        }
    }

    fn settler(&self, at: Queue, seq: i64) -> impl FnOnce(Settlement) + Send + 'static {
        let commands = self.commands.clone();
        move |settlement| {
            // After the end this fails, and the next start hands the message out again.
            let _ = commands.send(WriterCommand::Settle { at, seq, settlement });
        }
    }

    fn block(&mut self, error: &rusqlite::Error) {
        self.retry_at = Some(Instant::now() + RETRY_PAUSE);
        self.connection_state.send_replace(ConnectionState::Blocked(error.to_string()));
    }

    fn recover(&mut self) {
        if self.retry_at.take().is_some() {
            self.connection_state.send_replace(ConnectionState::Ready);
        }
    }

    fn close(mut self, end: EndReply) {
        self.connection_state.send_replace(ConnectionState::Away(CLOSED.into()));
        self.tables.remove_all_consumers();
        self.checkpoints.end(&mut self.file.connection);
        // Saves the next start a recovery. A failure costs nothing else.
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

/// True when there was no room for a page of the file, its write-ahead log, or the log's index.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

fn answer(publishes: Vec<Publish>, with: &Result<(), PublishError>) {
    for publish in publishes {
        // An error says only that the publisher is gone.
        let _ = publish.reply.send(with.clone());
    }
}

#[cfg(test)]
mod tests {
    use schemas::Message;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        Lane, Target,
        sqlite::{command::RowTarget, message::MessageRow, open},
    };

    fn publish(to: &Target, bytes: usize) -> WriterCommand {
        let row = Arc::new(MessageRow::of(to, &Message { body: vec![0; bytes].into(), ..Message::default() }));
        WriterCommand::Publish { to: RowTarget::of(to), row, reply: oneshot::channel().0 }
    }

    /// How many publishes of each lane the next transaction has.
    fn counts(writer: &mut Writer) -> [usize; 2] {
        let (publishes, _) = writer.gather();
        let is_fast = |publish: &&Publish| matches!(publish.to, RowTarget::Queue(Queue::Lane(Lane::Fast)));
        let fast = publishes.iter().filter(is_fast).count();
        [fast, publishes.len() - fast]
    }

    /// A writer that is not run, in a folder, and its inbox.
    fn writer() -> (Writer, mpsc::Sender<WriterCommand>, TempDir) {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("broker.db");
        let mut file = open::open(&path).expect("it opens");
        let space = Space::of(&path, 0).expect("room");
        let checkpoints = Checkpoints::start(&path, &mut file.connection, space.wal_bounds()).expect("it starts");
        let (commands, inbox) = mpsc::channel();
        let state = watch::channel(ConnectionState::Ready).0;
        let (logs, channel) = (LogBytes::default(), (commands.clone(), inbox));
        let writer = Writer::new(file, checkpoints, space, logs, channel, state, Arc::new(|| 0)).expect("tables");
        (writer, commands, folder)
    }

    #[test]
    fn publishes_that_give_way_come_last_and_few_at_once_and_all_before_the_end() {
        let (mut writer, commands, _folder) = writer();
        let [fast, slow] = Lane::ALL.map(|lane| Target::Lane(lane, None));
        let send =
            |to: &Target, times: usize| (0..times).for_each(|_| commands.send(publish(to, 0)).expect("it is open"));
        send(&slow, 3 * MAX_GIVING_WAY);
        send(&fast, 1);
        assert_eq!(counts(&mut writer), [1, MAX_GIVING_WAY]);
        send(&fast, 2);
        assert_eq!(counts(&mut writer), [2, MAX_GIVING_WAY]);
        send(&slow, MAX_GIVING_WAY);
        assert_eq!(counts(&mut writer), [0, 2 * MAX_GIVING_WAY]);
        send(&slow, 2 * MAX_GIVING_WAY);
        commands.send(WriterCommand::Abandon).expect("it is open");
        assert_eq!(counts(&mut writer), [0, 2 * MAX_GIVING_WAY]);
    }

    #[test]
    fn publishes_that_give_way_have_bytes_of_their_own() {
        let (mut writer, commands, _folder) = writer();
        let [fast, slow] = Lane::ALL.map(|lane| Target::Lane(lane, None));
        (0..3).for_each(|_| commands.send(publish(&slow, 0)).expect("it is open"));
        (0..40).for_each(|_| commands.send(publish(&fast, MAX_BYTES / 20)).expect("it is open"));
        assert_eq!(counts(&mut writer), [20, 3]);
    }

    #[test]
    fn large_publishes_come_last_and_by_the_megabyte() {
        let (mut writer, commands, _folder) = writer();
        let fast = Target::Lane(Lane::Fast, None);
        for bytes in [MAX_BYTES, MAX_BYTES, LARGE_BYTES, 0] {
            commands.send(publish(&fast, bytes)).expect("it is open");
        }
        let mut next = || writer.gather().0.iter().map(|publish| publish.row.body.len()).collect::<Vec<_>>();
        assert_eq!(next(), [0, MAX_BYTES]);
        commands.send(publish(&fast, 1)).expect("it is open");
        assert_eq!(next(), [1, MAX_BYTES]);
        assert_eq!(next(), [LARGE_BYTES]);
    }
}
