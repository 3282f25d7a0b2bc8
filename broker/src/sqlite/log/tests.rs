//! Retention, with bounds small enough to reach.

use rusqlite::Connection;

use super::*;
use crate::sqlite::open;

const DAY: i64 = 24 * 3_600_000;

struct Fixture {
    connection: Connection,
    ledger: Ledger,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn keeping(age_ms: i64, bytes: i64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open::open(&folder.path().join("broker.db")).expect("it opens").connection;
        let ledger = Ledger::load(&connection, Log::Dead, Retention { age_ms, bytes }).expect("it loads");
        Self { connection, ledger, _folder: folder }
    }

    fn append(&mut self, at: i64, records: usize) {
        let (id, kind, key) = (String::new(), String::new(), "exhausted.acme".to_owned());
        let row = Row { id, kind, key, headers: Vec::new(), body: vec![b' '; 1000 - OVERHEAD].into() };
        for _ in 0..records {
            self.ledger.append(&self.connection, at, &row).expect("it is stored");
        }
    }

    /// How many rounds it took, and which offsets are left.
    fn trim(&mut self, now: i64) -> (u32, Option<i64>, i64) {
        let mut rounds = 1;
        while self.ledger.trim(&self.connection, now).expect("it trims") {
            rounds += 1;
        }
        let left = "SELECT min(\"offset\"), count(*) FROM dead";
        let (first, count) =
            self.connection.query_row(left, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a table");
        (rounds, first, count)
    }
}

#[test]
fn what_is_older_than_its_age_goes_and_the_rest_stays() {
    let mut fixture = Fixture::keeping(DAY, i64::MAX);
    fixture.append(0, 3);
    fixture.append(DAY, 2);
    assert_eq!(fixture.trim(DAY), (1, Some(1), 5), "on the day");
    assert_eq!(fixture.trim(DAY + 1), (1, Some(4), 2), "after it");
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let mut fixture = Fixture::keeping(DAY, 10_000);
    fixture.append(0, 10);
    assert_eq!(fixture.trim(0), (1, Some(1), 10), "just full");
    fixture.append(0, 2);
    assert_eq!(fixture.trim(0), (1, Some(3), 10));
}

#[test]
fn much_goes_in_small_steps() {
    let mut fixture = Fixture::keeping(DAY, i64::MAX);
    fixture.append(0, 600);
    assert_eq!(fixture.trim(DAY + 1), (3, None, 0));
}

#[test]
fn the_weight_is_remembered_and_offsets_rise_on_though_all_is_gone() {
    let mut fixture = Fixture::keeping(DAY, 10_000);
    fixture.append(0, 12);
    fixture.trim(0);
    let again = Ledger::load(&fixture.connection, Log::Dead, fixture.ledger.retention).expect("it loads");
    assert_eq!(again.state, (12, 10_000));
    fixture.trim(DAY + 1);
    fixture.append(DAY, 1);
    assert_eq!(fixture.trim(DAY), (1, Some(13), 1));
}
