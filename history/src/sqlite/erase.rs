//! Erasing: bodies, answers, headers and the contact's token go, and that something was sent stays. Also what removes a tenant,
//! and what is older than a tenant wants.
//!
//! It is paced, so that writing goes on, and ends when no file has anything of it: SQLite overwrites what it deletes, and the
//! write-ahead logs are cut.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior::Immediate, params};

use super::{folder::Part, writer::Writer};
use crate::{
    ContactToken, Erased, HistoryError,
    day::Day,
    row::{blank, pack_post, signed, unpack_post},
};

/// Events of one transaction.
pub(super) const AT_ONCE: usize = 200;

/// Whose events are erased.
pub(super) enum ErasedEvents {
    Contact(ContactToken),
    Event(String),
}

impl Writer {
    /// Erases up to [`AT_ONCE`] events of a day. Returns what was erased, and whether there may be more.
    pub(super) fn erase_some(
        &mut self,
        day: Day,
        tenant: i64,
        whose: &ErasedEvents,
    ) -> Result<(Erased, bool), HistoryError> {
        let connection = self.files.connection(day, Part::Records)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let events: Vec<i64> = {
            let (condition, value): (_, &dyn rusqlite::ToSql) = match whose {
                ErasedEvents::Contact(token) => ("contact = ?2", token),
                ErasedEvents::Event(id) => ("id = ?2 AND is_erased = 0", id),
            };
            let select = format!("SELECT no FROM events WHERE tenant = ?1 AND {condition} LIMIT {AT_ONCE}");
            let mut select = transaction.prepare_cached(&select)?;
            let rows = select.query_map(params![tenant, value], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut erased = Erased::default();
        for event in &events {
            let erase = "UPDATE events SET is_erased = 1, contact = NULL WHERE no = ?1";
            transaction.prepare_cached(erase)?.execute([event])?;
            let posts =
                "SELECT endpoint, part, run_began, number, post FROM attempts WHERE event = ?1 AND post IS NOT NULL";
            let posts: Vec<(i64, String, i64, i64, Vec<u8>)> = transaction
                .prepare_cached(posts)?
                .query_map([event], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
                .collect::<rusqlite::Result<_>>()?;
            for (endpoint, part, run, number, post) in posts {
                let Some(mut post) = unpack_post(&post) else { continue };
                blank(&mut post);
                let put = "UPDATE attempts SET post = ?6
                    WHERE event = ?1 AND endpoint = ?2 AND part = ?3 AND run_began = ?4 AND number = ?5";
                let packed = pack_post(&post);
                transaction.prepare_cached(put)?.execute(params![event, endpoint, part, run, number, packed])?;
            }
            let count = "SELECT count(*) FROM deliveries WHERE event = ?1";
            let deliveries: i64 = transaction.prepare_cached(count)?.query_row([event], |row| row.get(0))?;
            erased.events += 1;
            erased.deliveries += deliveries.unsigned_abs();
        }
        transaction.commit()?;
        self.delete_bodies(day, &events)?;
        Ok((erased, events.len() == AT_ONCE))
    }

    /// Removes up to [`AT_ONCE`] events of a tenant that were accepted before a time, with everything of theirs. True when there
    /// may be more.
    pub(super) fn remove_some(&mut self, day: Day, tenant: i64, before: u64) -> Result<bool, HistoryError> {
        let connection = self.files.connection(day, Part::Records)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let events = events_before(&transaction, tenant, before)?;
        for event in &events {
            for table in ["attempts", "deliveries"] {
                let delete = format!("DELETE FROM {table} WHERE event = ?1");
                transaction.prepare_cached(&delete)?.execute([event])?;
            }
            transaction.prepare_cached("DELETE FROM events WHERE no = ?1")?.execute([event])?;
        }
        if events.len() < AT_ONCE {
            let hour = signed(before / 3_600_000);
            transaction.execute("DELETE FROM counts WHERE tenant = ?1 AND hour < ?2", params![tenant, hour])?;
        }
        transaction.commit()?;
        self.delete_bodies(day, &events)?;
        Ok(events.len() == AT_ONCE)
    }

    /// Removes the bodies of a tenant's events that were accepted before a time.
    pub(super) fn remove_bodies(&mut self, day: Day, tenant: i64, before: u64) -> Result<u64, HistoryError> {
        let select = "SELECT no FROM events WHERE tenant = ?1 AND accepted_at < ?2";
        let events: Vec<i64> = {
            let connection = self.files.connection(day, Part::Records)?;
            let mut select = connection.prepare_cached(select)?;
            let rows = select.query_map(params![tenant, signed(before)], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut deleted = 0;
        for some in events.chunks(AT_ONCE) {
            deleted += self.delete_bodies(day, some)?;
        }
        Ok(deleted)
    }

    fn delete_bodies(&mut self, day: Day, events: &[i64]) -> Result<u64, HistoryError> {
        if events.is_empty() || !self.files.folder.file(day, Part::Bodies).exists() {
            return Ok(0);
        }
        let connection = self.files.connection(day, Part::Bodies)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let mut deleted = 0;
        for event in events {
            deleted += transaction.prepare_cached("DELETE FROM bodies WHERE event = ?1")?.execute([event])?;
        }
        transaction.commit()?;
        Ok(deleted as u64)
    }

    /// Writes the write-ahead logs of a day back and cuts them, so that nothing that was deleted is in them.
    pub(super) fn cut_logs(&mut self, day: Day) -> Result<(), HistoryError> {
        for part in [Part::Records, Part::Bodies] {
            if self.files.folder.file(day, part).exists() {
                cut_log(self.files.connection(day, part)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn cut_meta_log(&self) -> Result<(), HistoryError> {
        cut_log(&self.meta)
    }
}

fn events_before(file: &Connection, tenant: i64, before: u64) -> Result<Vec<i64>, HistoryError> {
    let select = format!("SELECT no FROM events WHERE tenant = ?1 AND accepted_at < ?2 LIMIT {AT_ONCE}");
    let mut select = file.prepare_cached(&select)?;
    let rows = select.query_map(params![tenant, signed(before)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn cut_log(connection: &Connection) -> Result<(), HistoryError> {
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).optional()?;
    match busy {
        Some(0) | None => Ok(()),
        Some(_) => Err(HistoryError("a reader holds the write-ahead log".to_owned())),
    }
}
