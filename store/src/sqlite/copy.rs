//! Copies of the file, files made of what another database keeps, and keeping every process out of one, to put a copy
//! back. Everything here blocks.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior::Immediate, backup::Backup};

use super::{migrations, open, rows, usage};
use crate::{StoreError, StoreOpenError, content::StoreDump};

/// Pages copied between two looks at whether somebody else wants the file.
const PAGES: i32 = 1024;

/// Copies the store's file at `from` into a fresh file at `to`, mode 0600, which is there as a whole or not at all. A
/// process may have `from` open: the copy is what was committed at one moment. Secrets stay sealed: the copy is of use
/// only with the same keys. Blocks.
///
/// # Errors
/// Where `to` exists, either cannot be read or written, or `from` is of a later version of this program.
pub fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = looked_at(from)?;
    fresh(to, |target| {
        let backup = Backup::new(&source, target)?;
        backup.run_to_completion(PAGES, Duration::ZERO, None)
    })
}

/// Reads everything in a file.
pub(crate) fn read(from: &Path) -> Result<StoreDump, StoreError> {
    let mut connection = looked_at(from)?;
    let read = || {
        let transaction = connection.transaction()?;
        let meta = rows::meta(&transaction)?;
        let audit = rows::entries(&transaction, None, None, u32::MAX)?.into_iter().rev().collect();
        let (rows, usage) = (rows::since(&transaction, 0)?, usage::all(&transaction)?);
        Ok(StoreDump { revision: meta.revision, forgotten: meta.forgotten, proof: meta.proof, rows, usage, audit })
    };
    read_of(from, read)
}

/// Makes a file that has everything.
pub(crate) fn write(to: &Path, content: &StoreDump) -> Result<(), StoreError> {
    fresh(to, |connection| {
        migrations::apply(connection).map_err(|problem| match problem {
            migrations::MigrationError::Database(error) => error,
            migrations::MigrationError::Newer(_) => rusqlite::Error::InvalidQuery,
        })?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        content.rows.iter().try_for_each(|row| rows::put(&transaction, row))?;
        content.audit.iter().try_for_each(|entry| rows::note(&transaction, entry))?;
        usage::record(&transaction, &content.usage)?;
        rows::set_meta(&transaction, content)?;
        transaction.commit()
    })
}

/// A connection to look through, at a file of a version that is known.
fn looked_at(path: &Path) -> Result<Connection, StoreError> {
    let unusable = |error: StoreOpenError| StoreError(error.to_string());
    let failed = |error: rusqlite::Error| unusable(open::unusable(path, &error));
    let connection = open::look(path).map_err(failed)?;
    match migrations::format(&connection).map_err(failed)? {
        // An older one is brought up to date by who opens it.
        1..=migrations::FORMAT => Ok(connection),
        0 => Err(unusable(open::unusable(path, &"there is no store in it"))),
        newer => Err(unusable(migrations::MigrationError::Newer(newer).of(path))),
    }
}

/// Makes a file beside its place, and moves it there once it is whole.
fn fresh(to: &Path, fill: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", to.display()));
    if to.exists() {
        return Err(failed(&"exists already"));
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut connection = open::connect(beside.path()).map_err(|error| failed(&error))?;
    fill(&mut connection).map_err(|error| failed(&error))?;
    connection.close().map_err(|(_, error)| failed(&error))?;
    beside.as_file().sync_all().map_err(|error| failed(&error))?;
    beside.persist_noclobber(to).map(drop).map_err(|error| failed(&error))
}

fn read_of<T>(path: &Path, read: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, StoreError> {
    read().map_err(|error| StoreError(format!("{}: {error}", path.display())))
}

/// Keeps every process from opening the store's file while it lives.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "its drop lets the next process in")] File);

impl Hold {
    /// Of the file at `path`, which need not be there; its folder is made.
    ///
    /// # Errors
    /// [`StoreOpenError::Held`] when a process has it.
    pub fn take(path: &Path) -> Result<Self, StoreOpenError> {
        open::lock(path).map(Self)
    }
}
