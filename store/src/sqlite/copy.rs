//! A copy of the file while it is in use, by SQLite's own backup.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::open::look;
use crate::StoreError;

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
