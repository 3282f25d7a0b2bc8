//! Restores a backup. All files are read and checked beside the existing ones before the first of them is replaced.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use service::{
    Exit,
    atomic_file::{folder_of, persist},
    sqlite_file::FileLock,
};
use tempfile::NamedTempFile;

use super::{
    archive::{self, FileEntry, Manifest},
    part::{BackupPart, HISTORY, history_file, history_folder},
};
use crate::{config::Config, process};

/// A checked file beside its final path.
struct StagedFile {
    is_database: bool,
    file: NamedTempFile,
    to: PathBuf,
}

/// Writes the files of a backup to their paths. Blocking. Fails, without changing a file, when a process holds the
/// data, existing files may not be replaced, or the backup is incomplete.
pub(crate) fn restore(config: &Config, from: &Path, replace: bool) -> anyhow::Result<Manifest> {
    process::make_data_dir(&config.data_dir)?;
    let _locks = lock(config)?;
    let mut staged = Vec::new();
    let archive = File::open(from).with_context(|| from.display().to_string())?;
    let manifest = archive::read(io::BufReader::new(archive), |entry, content| {
        staged.push(stage(config, entry, content, replace)?);
        Ok(())
    });
    let manifest = manifest.with_context(|| from.display().to_string())?;
    let unfinished = process::unfinished_restore(&config.data_dir);
    File::create(&unfinished)?.sync_all()?;
    let has_history = manifest.files.iter().any(|file| file.name.starts_with(HISTORY));
    if let Some(folder) = history_folder(config).filter(|_| has_history) {
        remove_history(&folder, &staged)?;
    }
    for file in staged {
        replace_file(file)?;
    }
    fs::remove_file(&unfinished)?;
    File::open(&config.data_dir)?.sync_all()?;
    Ok(manifest)
}

/// Removes days that the backup does not have: they refer to numbers of the file that is replaced.
fn remove_history(folder: &Path, staged: &[StagedFile]) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_kept = staged.iter().any(|file| file.to == path || file.file.path() == path);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !is_kept && name != "lock" {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn lock(config: &Config) -> anyhow::Result<[Option<FileLock>; 4]> {
    let broker = BackupPart::Broker.path(config).map(|path| broker::sqlite::lock(&path)).transpose();
    let [store, control] = [BackupPart::Store, BackupPart::Control]
        .map(|part| part.path(config).map(|path| store::lock(&path)).transpose());
    let history = history_folder(config)
        .filter(|folder| folder.is_dir())
        .map(|folder| history::lock_history(&folder))
        .transpose();
    Ok([
        broker.context(Exit::Config)?,
        store.context(Exit::Config)?,
        control.context(Exit::Config)?,
        history.context(Exit::Config)?,
    ])
}

fn stage(config: &Config, entry: &FileEntry, content: &mut dyn io::Read, replace: bool) -> anyhow::Result<StagedFile> {
    let name = &entry.name;
    let known = BackupPart::by_name(name);
    let is_database = known.is_none_or(BackupPart::is_database);
    let place = match known {
        Some(part) => Some(part.path(config)),
        None if !name.starts_with(HISTORY) => None,
        None => Some(history_folder(config).and_then(|folder| history_file(&folder, name))),
    };
    let place = place.with_context(|| format!("{name} is nothing that this program knows"))?;
    let to = place.with_context(|| format!("{name} has no place here: another kind is configured"))?;
    anyhow::ensure!(replace || !to.exists(), "{} is there already: --force replaces it", to.display());
    fs::create_dir_all(folder_of(&to))?;
    let mut file = NamedTempFile::new_in(folder_of(&to))?;
    let found = archive::copy(name, content, file.as_file_mut()).with_context(|| name.clone())?;
    anyhow::ensure!(found == *entry, "{name} is not what was backed up: the backup is damaged");
    file.as_file().sync_all()?;
    Ok(StagedFile { is_database, file, to })
}

/// Replaces a file, and deletes SQLite's files beside the old one, which SQLite would apply to the new one.
fn replace_file(staged: StagedFile) -> anyhow::Result<()> {
    let StagedFile { is_database, file, to } = staged;
    for beside in ["-wal", "-shm"].into_iter().filter(|_| is_database) {
        let mut path = to.clone().into_os_string();
        path.push(beside);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    persist(file, &to).with_context(|| to.display().to_string())
}
