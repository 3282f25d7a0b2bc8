//! What writes the files: one connection to each, and what it knows of them.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    error::HistoryFileError,
    folder::{Day, Folder, Part},
    names::Names,
    schema,
    write::signed,
};
use crate::{Dropped, HistoryError};

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
        let (names, kept) =
            Names::load(&meta).and_then(|names| Ok((names, KeptBytes::load(&meta)?))).map_err(failed)?;
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

    fn drop_day(&mut self, day: Day) -> Result<(), HistoryError> {
        self.drop_bodies(day)?;
        self.files.close(day);
        self.files.folder.remove(day, Part::Records)?;
        self.kept.drop_day(&self.meta, day)
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
                ((day, part), Folder::open(&self.folder.file(day, part), tables)?)
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

/// Bytes of each tenant, roughly: what its rows and bodies take.
#[derive(Default)]
pub(super) struct KeptBytes {
    by_day: HashMap<(Day, i64), u64>,
    by_tenant: HashMap<i64, u64>,
    total: u64,
}

impl KeptBytes {
    fn load(meta: &Connection) -> rusqlite::Result<Self> {
        let mut kept = Self::default();
        let mut select = meta.prepare("SELECT day, tenant, bytes FROM kept")?;
        let rows =
            select.query_map([], |row| Ok((Day(row.get(0)?), row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs())))?;
        for row in rows {
            let (day, tenant, bytes) = row?;
            kept.note(day, tenant, bytes);
        }
        Ok(kept)
    }

    pub(super) fn of(&self, tenant: i64) -> u64 {
        self.by_tenant.get(&tenant).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn add(&mut self, meta: &Connection, day: Day, bytes: &HashMap<i64, u64>) -> Result<(), HistoryError> {
        let put = "INSERT INTO kept (day, tenant, bytes) VALUES (?1, ?2, ?3)
            ON CONFLICT (day, tenant) DO UPDATE SET bytes = bytes + excluded.bytes";
        for (tenant, bytes) in bytes {
            meta.prepare_cached(put)?.execute(params![day.0, tenant, signed(*bytes)])?;
            self.note(day, *tenant, *bytes);
        }
        Ok(())
    }

    fn note(&mut self, day: Day, tenant: i64, bytes: u64) {
        *self.by_day.entry((day, tenant)).or_default() += bytes;
        *self.by_tenant.entry(tenant).or_default() += bytes;
        self.total += bytes;
    }

    fn drop_day(&mut self, meta: &Connection, day: Day) -> Result<(), HistoryError> {
        meta.execute("DELETE FROM kept WHERE day = ?1", [day.0])?;
        self.forget(|of, _| of == day);
        Ok(())
    }

    pub(super) fn drop_tenant(&mut self, meta: &Connection, tenant: i64) -> Result<(), HistoryError> {
        meta.execute("DELETE FROM kept WHERE tenant = ?1", [tenant])?;
        self.forget(|_, of| of == tenant);
        Ok(())
    }

    fn forget(&mut self, is_meant: impl Fn(Day, i64) -> bool) {
        let (by_tenant, total) = (&mut self.by_tenant, &mut self.total);
        self.by_day.retain(|(day, tenant), bytes| {
            let is_meant = is_meant(*day, *tenant);
            if is_meant {
                let own = by_tenant.entry(*tenant).or_default();
                *own = own.saturating_sub(*bytes);
                *total = total.saturating_sub(*bytes);
            }
            !is_meant
        });
        self.by_tenant.retain(|_, bytes| *bytes > 0);
    }
}
