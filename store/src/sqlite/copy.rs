//! Copies the file, reads it as a dump, and writes a dump to a new file. Everything here blocks.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior::Immediate};
use service::sqlite_file;

use super::{
    migrations::{FIRST_FORMAT_VIEW, SETTINGS_FILE},
    open, rows, usage,
};
use crate::{StoreError, StoreOpenError, dump::StoreDump};

/// Copies the store's file at `from` into a new file at `to` with mode 0600, all or nothing. Another process may have
/// `from` open: the copy has what was committed at one moment. Secrets stay sealed, so the copy needs the same keys.
///
/// # Errors
/// `to` exists, a file cannot be read or written, or a later version of this program wrote `from`.
pub fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = open_known(from)?;
    sqlite_file::copy(&source, to).map_err(|error| of_file(to, &error))
}

pub(crate) fn read(from: &Path) -> Result<StoreDump, StoreError> {
    let mut connection = open_known(from)?;
    let mut read = || {
        let transaction = connection.transaction()?;
        let meta = rows::meta(&transaction)?;
        let audit = rows::audit(&transaction, None, None, u32::MAX)?.into_iter().rev().collect();
        let (rows, usage) = (rows::since(&transaction, 0)?, usage::all(&transaction)?);
        Ok(StoreDump { meta, rows, usage, audit })
    };
    read().map_err(|error: rusqlite::Error| of_file(from, &error))
}

pub(crate) fn write(to: &Path, dump: &StoreDump) -> Result<(), StoreError> {
    let written = sqlite_file::write_new(to, |connection| {
        SETTINGS_FILE.apply(connection)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        dump.rows.iter().try_for_each(|row| rows::put(&transaction, row))?;
        dump.audit.iter().try_for_each(|entry| rows::insert_audit(&transaction, entry))?;
        usage::record(&transaction, &dump.usage)?;
        rows::set_meta(&transaction, &dump.meta)?;
        transaction.commit()
    });
    written.map_err(|error| of_file(to, &error))
}

/// Opens a file to read it, if its format is known. An older format is updated only by a process that opens the file
/// for writing.
fn open_known(path: &Path) -> Result<Connection, StoreError> {
    let unusable = |error: StoreOpenError| StoreError(error.to_string());
    let failed = |error: rusqlite::Error| unusable(open::unusable(path, &error));
    let connection = sqlite_file::open_read_only(path).map_err(failed)?;
    let found = sqlite_file::format(&connection).map_err(failed)?;
    SETTINGS_FILE.refuse_newer(found, path).map_err(unusable)?;
    match found {
        0 => Err(unusable(open::unusable(path, &"there is no store in it"))),
        1 => connection.execute_batch(FIRST_FORMAT_VIEW).map_err(failed).map(|()| connection),
        _ => Ok(connection),
    }
}

fn of_file(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError(format!("{}: {error}", path.display()))
}
