//! A copy of the file while it is in use, by SQLite's own backup; and keeping every process out of it, to put a copy back.

use std::{fs::File, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::open::{lock, look};
use crate::{OpenError, StoreError};

/// Pages copied between two looks at whether somebody else wants the file.
const PAGES: i32 = 1024;

/// Copies the store's file at `from` into a fresh file at `to`, mode 0600. A process may have `from` open: the copy is
/// what was committed at one moment. Secrets stay sealed: the copy is of use only with the same keys. Blocks.
///
/// # Errors
/// Where `to` exists, or either cannot be read or written.
pub fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: &dyn std::fmt::Display| StoreError(format!("copying {}: {error}", from.display()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| StoreError(format!("{}: {error}", to.display())))?;
    let source = look(from).map_err(|error| failed(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(|error| failed(&error))?;
    let backup = Backup::new(&source, &mut target).map_err(|error| failed(&error))?;
    backup.run_to_completion(PAGES, Duration::ZERO, None).map_err(|error| failed(&error))
}

/// Keeps every process from opening the store's file while it lives.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "its drop lets the next process in")] File);

impl Hold {
    /// Of the file at `path`, which need not be there; its folder is made.
    ///
    /// # Errors
    /// [`OpenError::Held`] when a process has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        lock(path).map(Self)
    }
}
