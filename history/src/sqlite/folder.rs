//! The folder of the files: one with what belongs to no day, and two for each day.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use service::sqlite_file;

use super::{error::HistoryFileError, schema};
use crate::day::Day;

/// Endings of the files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Records,
    Bodies,
}

#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(super) fn meta(&self) -> PathBuf {
        self.0.join("meta.db")
    }

    pub(super) fn file(&self, day: Day, part: Part) -> PathBuf {
        self.0.join(match part {
            Part::Records => format!("{}.db", day.name()),
            Part::Bodies => format!("{}.bodies.db", day.name()),
        })
    }

    /// The days that have such a file, oldest first.
    pub(super) fn days(&self, part: Part) -> io::Result<Vec<Day>> {
        let ending = match part {
            Part::Records => ".db",
            Part::Bodies => ".bodies.db",
        };
        let mut days: Vec<_> = fs::read_dir(&self.0)?
            .filter_map(|entry| Day::parse(entry.ok()?.file_name().to_str()?.strip_suffix(ending)?))
            .collect();
        days.sort_unstable();
        Ok(days)
    }

    /// Opens a file to write it, and makes it if it is missing.
    pub(super) fn open(path: &Path, tables: &str) -> Result<Connection, HistoryFileError> {
        let file = |source| HistoryFileError::File { path: path.into(), source };
        let connection = sqlite_file::open(path).map_err(file)?;
        match schema::prepare(&connection, tables) {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(version)) => Err(HistoryFileError::Newer { path: path.into(), version }),
            Err(source) => Err(HistoryFileError::Database { path: path.into(), source }),
        }
    }

    /// Deletes a day's file, also while somebody reads it.
    pub(super) fn remove(&self, day: Day, part: Part) -> io::Result<()> {
        let path = self.file(day, part);
        for ending in BESIDE {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            match fs::remove_file(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(fs::read_dir(&self.0)?.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum())
    }
}
