//! What writes the files: one connection to each, and what it knows of them.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, TransactionBehavior::Immediate, params};

use super::{
    error::HistoryFileError,
    folder::{Folder, Part},
    names, schema,
};
use crate::{Dropped, HistoryError, day::Day, kept::KeptBytes, names::Names, row::signed};

/// Files of days that are open at once, at 16 MiB of pages each. Records are of today and the days before.
const OPEN_FILES: usize = 8;

pub(super) struct Writer {
    pub(super) meta: Connection,
    pub(super) files: OpenFiles,
    pub(super) names: Arc<Names>,
    pub(super) kept: KeptBytes,
    pub(super) max_bytes: u64,
}

impl Writer {
    pub(super) fn open(folder: &Folder, max_bytes: u64) -> Result<Self, HistoryFileError> {
        let path = folder.meta();
        let meta = Folder::open(&path, schema::META)?;
        let failed = |source| HistoryFileError::Database { path, source };
        let names = Names::default();
        let kept = names::load(&meta, &names).and_then(|()| load_kept(&meta)).map_err(failed)?;
        let files = OpenFiles { folder: folder.clone(), open: Vec::new() };
        Ok(Self { meta, files, names: Arc::new(names), kept, max_bytes })
    }

    pub(super) fn maintain(&mut self, records: Day, bodies: Day) -> Result<Dropped, HistoryError> {
        let mut dropped = Dropped::default();
        let folder = self.files.folder.clone();
        for day in folder.days(Part::Bodies)?.into_iter().filter(|day| *day < bodies.max(records)) {
            self.drop_bodies(day)?;
            dropped.days_of_bodies += 1;
        }
        for day in folder.days(Part::Records)?.into_iter().filter(|day| *day < records) {
            self.drop_day(day)?;
            dropped.days += 1;
        }
        while folder.bytes()? > self.max_bytes {
            // Today's stays: it is bounded by the tenants' shares.
            let days = folder.days(Part::Records)?;
            let (Some(oldest), true) = (days.first(), days.len() > 1) else { break };
            self.drop_day(*oldest)?;
            dropped.days += 1;
        }
        self.meta.execute("DELETE FROM gaps WHERE ended < ?1", [signed(records.began())])?;
        Ok(dropped)
    }

    /// Notes the bytes that tenants have more on a day.
    pub(super) fn add_kept(&mut self, day: Day, bytes: &HashMap<i64, u64>) -> Result<(), HistoryError> {
        let put = "INSERT INTO kept (day, tenant, bytes) VALUES (?1, ?2, ?3)
            ON CONFLICT (day, tenant) DO UPDATE SET bytes = bytes + excluded.bytes";
        let transaction = self.meta.transaction_with_behavior(Immediate)?;
        for (tenant, bytes) in bytes {
            transaction.prepare_cached(put)?.execute(params![day.0, tenant, signed(*bytes)])?;
        }
        transaction.commit()?;
        bytes.iter().for_each(|(tenant, bytes)| self.kept.add(day.0, *tenant, *bytes));
        Ok(())
    }

    fn drop_day(&mut self, day: Day) -> Result<(), HistoryError> {
        self.drop_bodies(day)?;
        self.files.close(day);
        self.files.folder.remove(day, Part::Records)?;
        self.meta.execute("DELETE FROM kept WHERE day = ?1", [day.0])?;
        self.kept.drop_day(day.0);
        Ok(())
    }

    fn drop_bodies(&mut self, day: Day) -> Result<(), HistoryError> {
        self.files.close(day);
        Ok(self.files.folder.remove(day, Part::Bodies)?)
    }
}

/// The files of days that are open to be written, the least recently used first.
pub(super) struct OpenFiles {
    pub(super) folder: Folder,
    open: Vec<((Day, Part), Connection)>,
}

impl OpenFiles {
    /// The connection to a file, which is made if it is missing.
    pub(super) fn connection(&mut self, day: Day, part: Part) -> Result<&mut Connection, HistoryError> {
        let known = self.open.iter().position(|(of, _)| *of == (day, part));
        let open = match known {
            Some(at) => self.open.remove(at),
            None => {
                let tables = match part {
                    Part::Records => schema::DAY,
                    Part::Bodies => schema::BODIES,
                };
                if self.open.len() >= OPEN_FILES {
                    self.open.remove(0);
                }
                let connection = Folder::open(&self.folder.file(day, part), tables)?;
                if part == Part::Bodies {
                    connection.execute_batch(schema::FEW_PAGES)?;
                }
                ((day, part), connection)
            }
        };
        self.open.push(open);
        let last = self.open.last_mut().map(|(_, connection)| connection);
        last.ok_or_else(|| HistoryError("no file is open".to_owned()))
    }

    pub(super) fn close(&mut self, day: Day) {
        self.open.retain(|((open, _), _)| *open != day);
    }

    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }
}

/// Reads the bytes of each tenant.
fn load_kept(meta: &Connection) -> rusqlite::Result<KeptBytes> {
    let mut kept = KeptBytes::default();
    let mut select = meta.prepare("SELECT day, tenant, bytes FROM kept")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs())))?;
    for row in rows {
        let (day, tenant, bytes) = row?;
        kept.add(day, tenant, bytes);
    }
    Ok(kept)
}
