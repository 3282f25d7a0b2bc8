//! The retention of a log, with bounds that are small enough to reach.

use rusqlite::Connection;

use super::*;
use crate::sqlite::open;

const DAY: i64 = 24 * 3_600_000;

struct Fixture {
    connection: Connection,
    log: LogTable,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn keeping(age_ms: i64, bytes: i64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open::open(&folder.path().join("broker.db")).expect("it opens").connection;
        let log = LogTable::load(&connection, Log::Dead, Retention { age_ms, bytes }).expect("it loads");
        Self { connection, log, _folder: folder }
    }

    fn append(&mut self, at: i64, records: usize) {
        let (id, kind, key) = (String::new(), String::new(), "exhausted.acme".to_owned());
        let row =
            MessageRow { id, kind, key, headers: Vec::new(), body: vec![b' '; 1000 - OVERHEAD].into(), damaged: false };
        for _ in 0..records {
            self.log.append(&self.connection, at, &row).expect("it is stored");
        }
    }

    /// Trims to the end. Returns the number of rounds, the first offset that is left, and the number of records.
    fn trim(&mut self, now: i64) -> (u32, Option<i64>, i64) {
        let mut rounds = 1;
        while self.log.trim(&self.connection, now).expect("it trims") {
            rounds += 1;
        }
        let left = "SELECT min(\"offset\"), count(*) FROM dead";
        let (first, count) =
            self.connection.query_row(left, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a table");
        (rounds, first, count)
    }
}

#[test]
fn records_over_the_age_are_deleted_and_the_rest_stays() {
    let mut fixture = Fixture::keeping(DAY, i64::MAX);
    fixture.append(0, 3);
    fixture.append(DAY, 2);
    assert_eq!(fixture.trim(DAY), (1, Some(1), 5), "on the day");
    assert_eq!(fixture.trim(DAY + 1), (1, Some(4), 2), "after it");
}

#[test]
fn the_oldest_records_are_deleted_when_a_log_is_too_large() {
    let mut fixture = Fixture::keeping(DAY, 10_000);
    fixture.append(0, 10);
    assert_eq!(fixture.trim(0), (1, Some(1), 10), "just full");
    fixture.append(0, 2);
    assert_eq!(fixture.trim(0), (1, Some(3), 10));
}

#[test]
fn many_records_are_deleted_in_small_steps() {
    let mut fixture = Fixture::keeping(DAY, i64::MAX);
    fixture.append(0, 600);
    assert_eq!(fixture.trim(DAY + 1), (3, None, 0));
}

#[test]
fn the_size_is_kept_over_a_restart_and_offsets_rise_on_although_the_log_is_empty() {
    let mut fixture = Fixture::keeping(DAY, 10_000);
    fixture.append(0, 12);
    fixture.trim(0);
    let again = LogTable::load(&fixture.connection, Log::Dead, fixture.log.retention).expect("it loads");
    assert_eq!(again.state, (12, 10_000));
    fixture.trim(DAY + 1);
    fixture.append(DAY, 1);
    assert_eq!(fixture.trim(DAY), (1, Some(13), 1));
}
