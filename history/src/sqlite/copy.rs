//! Copies of a folder, also while a process writes it.

use std::{fs, io, path::Path};

use rusqlite::OptionalExtension as _;
use service::sqlite_file;

use super::folder::{Folder, Part};
use crate::{HistoryError, day::Day};

/// File that belongs to no day.
const META: &str = "meta.db";

/// Copies what is written in the folder at `from` into the folder at `to`, file by file, and returns their names. Blocks.
///
/// Days come before the file with the numbers that they refer to. The position in the stream is that of the beginning: what
/// came during the copy is written once more after a restore, and what is there already is recognised.
pub fn back_up_history(from: &Path, to: &Path) -> Result<Vec<String>, HistoryError> {
    let (source, target) = (Folder::new(from), Folder::new(to));
    fs::create_dir_all(to)?;
    let position = position(&source.meta())?;
    let mut names = Vec::new();
    // Bodies first: a body without its event is of nobody.
    for part in [Part::Bodies, Part::Records] {
        for day in source.days(part)? {
            if copy(&source.file(day, part), &target.file(day, part))? {
                names.push(name(&target.file(day, part)));
            }
        }
    }
    copy(&source.meta(), &target.meta())?;
    let meta = sqlite_file::open(&target.meta())?;
    match position {
        Some(position) => meta.execute("UPDATE position SET value = ?1", [position])?,
        None => meta.execute("DELETE FROM position", [])?,
    };
    // One file, without a log beside it.
    meta.pragma_update(None, "journal_mode", "DELETE")?;
    names.push(META.to_owned());
    Ok(names)
}

/// True for the name of a file that such a folder has.
pub fn is_history_file(name: &str) -> bool {
    let day = name.strip_suffix(".db").map(|day| day.strip_suffix(".bodies").unwrap_or(day));
    name == META || day.and_then(Day::parse).is_some()
}

fn position(meta: &Path) -> Result<Option<i64>, HistoryError> {
    let meta = sqlite_file::open_read_only(meta)?;
    Ok(meta.query_row("SELECT value FROM position", [], |row| row.get(0)).optional()?)
}

/// False for a file that was dropped meanwhile, or whose tables are being made.
fn copy(from: &Path, to: &Path) -> Result<bool, HistoryError> {
    let Ok(source) = sqlite_file::open_read_only(from) else { return Ok(false) };
    if sqlite_file::format(&source)? == 0 {
        return Ok(false);
    }
    match sqlite_file::copy(&source, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
