//! Any sequence of publishing, settling, failing transactions and crashes, against the simplest model of what may come.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::Message;
use tokio::sync::mpsc;

use super::*;
use crate::{Incoming, Settlement, Target, consumer::ConsumerFeed, sqlite::open};

const LANE: Queue = Queue::Lane(Lane::Fast);

#[derive(Clone, Debug)]
enum ModelStep {
    /// A transaction that stores this many messages, commits or not, and hands out what it chose.
    Transact { publishes: usize, commits: bool },
    /// Settles one of the messages that are handed out; a number chooses which.
    Settle { which: usize, settlement: Settlement },
    /// The process ends and another one begins, with a consumer of this prefetch.
    Crash { prefetch: u16 },
}

fn any_step() -> impl Strategy<Value = ModelStep> {
    prop_oneof![
        4 => (0..4_usize, prop::bool::weighted(0.7))
            .prop_map(|(publishes, commits)| ModelStep::Transact { publishes, commits }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, done)| ModelStep::Settle {
            which,
            settlement: if done { Settlement::Done } else { Settlement::Again },
        }),
        1 => (1..6_u16).prop_map(|prefetch| ModelStep::Crash { prefetch }),
    ]
}

/// What the model knows of a message that was stored.
#[derive(Default)]
struct KnownMessage {
    handed_out: u32,
    /// Its `seq`, while it is handed out.
    out: Option<i64>,
    /// True when it is settled, and no transaction has committed since.
    done: bool,
}

struct Model {
    connection: Connection,
    tables: Tables,
    known: BTreeMap<String, KnownMessage>,
    published: usize,
    _receiver: mpsc::Receiver<Incoming>,
}

impl Model {
    fn new() -> Self {
        let connection = Connection::open_in_memory().expect("memory");
        open::prepare(&connection, 0).expect("tables");
        let (tables, receiver) = tables(&connection, 3);
        Self { connection, tables, known: BTreeMap::new(), published: 0, _receiver: receiver }
    }

    fn take(&mut self, step: &ModelStep) -> Result<(), TestCaseError> {
        match step {
            ModelStep::Transact { publishes, commits } => return self.transact(*publishes, *commits),
            ModelStep::Settle { which, settlement } => self.settle(*which, *settlement),
            ModelStep::Crash { prefetch } => {
                (self.tables, self._receiver) = tables(&self.connection, *prefetch);
                for known in self.known.values_mut() {
                    (known.out, known.done) = (None, false);
                }
            }
        }
        Ok(())
    }

    fn transact(&mut self, publishes: usize, commits: bool) -> Result<(), TestCaseError> {
        let publishes: Vec<_> = (0..publishes).map(|next| publish(self.published + next)).collect();
        self.published += publishes.len();
        let transaction = self.connection.transaction().expect("begins");
        let picks = self.tables.write(&transaction, &publishes, 0).expect("writes");
        if !commits {
            transaction.rollback().expect("rolls back");
            self.tables.rollback();
            return Ok(());
        }
        transaction.commit().expect("commits");
        self.tables.commit(&picks);
        self.known.retain(|_, known| !known.done);
        self.known.extend(publishes.into_iter().map(|publish| (publish.row.id.clone(), KnownMessage::default())));
        for pick in picks.into_iter().flat_map(|(_, picks)| picks) {
            let known = self.known.get_mut(&pick.row.id);
            let known = known.ok_or_else(|| TestCaseError::fail("refused or settled, and handed out"))?;
            prop_assert_eq!(known.out.replace(pick.seq), None, "handed out while it is out");
            prop_assert_eq!(pick.count, known.handed_out);
            known.handed_out += 1;
        }
        Ok(())
    }

    fn settle(&mut self, which: usize, settlement: Settlement) {
        let out = self.known.values().filter(|known| known.out.is_some() && !known.done).count();
        let mut candidates = self.known.values_mut().filter(|known| known.out.is_some() && !known.done);
        let Some(known) = which.checked_rem(out).and_then(|which| candidates.nth(which)) else { return };
        let seq = match settlement {
            Settlement::Done => {
                known.done = true;
                known.out
            }
            Settlement::Again => known.out.take(),
        };
        self.tables.at(LANE).settle(seq.expect("it is out"), settlement);
    }
}

fn tables(connection: &Connection, prefetch: u16) -> (Tables, mpsc::Receiver<Incoming>) {
    let mut tables = Tables::load(connection, LogBytes::default()).expect("it loads");
    let (feed, receiver) = ConsumerFeed::new(prefetch.into());
    tables.at(LANE).add_consumer(feed);
    (tables, receiver)
}

fn publish(id: usize) -> Publish {
    let message = Message { id: id.to_string(), ..Message::default() };
    let to = Target::Lane(Lane::Fast, None);
    Publish { to: RowTarget::of(&to), row: MessageRow::of(&to, &message).into(), reply: oneshot::channel().0 }
}

proptest! {
    #[test]
    fn whatever_fails_each_message_stays_until_it_is_settled_and_is_never_out_twice(
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step)?;
        }
        // All that is left is handed out, if only the broker runs on.
        for _ in 0..=2 * model.known.len() {
            model.settle(0, Settlement::Done);
            model.transact(0, true)?;
        }
        prop_assert!(model.known.is_empty(), "{} never came", model.known.len());
        prop_assert!(!model.tables.has_work(0), "and then it rests");
    }
}

#[test]
fn logs_are_trimmed_on_although_the_clock_was_set_back() {
    const HOUR: i64 = 3_600_000;
    let connection = Connection::open_in_memory().expect("memory");
    open::prepare(&connection, 0).expect("tables");
    // The log of dead letters may have ten records of 1,000 bytes.
    let logs = LogBytes { dead: 10_000, ..LogBytes::default() };
    let mut tables = Tables::load(&connection, logs).expect("it loads");
    let to = Target::Log(Log::Dead, "exhausted.acme".into());
    let message = Message { body: vec![b' '; 1_000].into(), ..Message::default() };
    let write = |tables: &mut Tables, now| {
        let publish =
            Publish { to: RowTarget::of(&to), row: MessageRow::of(&to, &message).into(), reply: oneshot::channel().0 };
        tables.write(&connection, &[publish], now).expect("writes");
    };
    write(&mut tables, HOUR);
    (0..12).for_each(|_| write(&mut tables, HOUR));
    let count = || connection.query_row("SELECT count(*) FROM dead", [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(count(), 13, "it was looked at less than a minute ago");
    assert!(tables.has_work(0));
    write(&mut tables, 0);
    assert!((8..=10).contains(&count()), "{}", count());
    assert!(!tables.has_work(0), "not each time");
}
