//! Putting a backup back: everything is read and checked beside the files before the first of them is replaced.

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
    archive,
    manifest::{Entry, Manifest},
    part::Part,
};
use crate::{config::Config, process};

/// A file that was read and checked, beside the one it is to be.
struct Staged {
    part: Part,
    file: NamedTempFile,
    to: PathBuf,
}

/// Puts the files of a backup where the configuration has them. Blocking.
///
/// # Errors
/// Where a process holds the data, files are there that may not be replaced, or the backup is not whole: then nothing
/// was changed.
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
    for one in staged {
        put(one)?;
    }
    fs::remove_file(&unfinished)?;
    File::open(&config.data_dir)?.sync_all()?;
    Ok(manifest)
}

/// Keeps every process from opening the files that are replaced.
fn lock(config: &Config) -> anyhow::Result<[Option<FileLock>; 2]> {
    let broker = Part::Broker.path(config).map(|path| broker::sqlite::lock(&path)).transpose();
    let store = Part::Store.path(config).map(|path| store::lock(&path)).transpose();
    Ok([broker.context(Exit::Config)?, store.context(Exit::Config)?])
}

fn stage(config: &Config, entry: &Entry, content: &mut dyn io::Read, replace: bool) -> anyhow::Result<Staged> {
    let name = &entry.name;
    let part = Part::named(name).with_context(|| format!("{name} is nothing that this program knows"))?;
    let to = part.path(config).with_context(|| format!("{name} has no place here: another kind is configured"))?;
    anyhow::ensure!(replace || !to.exists(), "{} is there already: --force replaces it", to.display());
    fs::create_dir_all(folder_of(&to))?;
    let mut file = NamedTempFile::new_in(folder_of(&to))?;
    let found = archive::copy(name, content, file.as_file_mut()).with_context(|| name.clone())?;
    anyhow::ensure!(found == *entry, "{name} is not what was backed up: the backup is damaged");
    file.as_file().sync_all()?;
    Ok(Staged { part, file, to })
}

/// What SQLite kept beside the file before belongs to that, and would be read into this.
fn put(staged: Staged) -> anyhow::Result<()> {
    let Staged { part, file, to } = staged;
    for beside in ["-wal", "-shm"].into_iter().filter(|_| part.is_database()) {
        let mut path = to.clone().into_os_string();
        path.push(beside);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    persist(file, &to).with_context(|| to.display().to_string())
}
