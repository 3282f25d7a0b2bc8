//! Makes a backup, also while a process runs.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::Context as _;
use service::atomic_file::{folder_of, persist, persist_new};
use tempfile::{NamedTempFile, TempDir};

use super::{
    archive::{self, FileEntry, Manifest},
    part::{BackupPart, HISTORY, history_folder},
};
use crate::{VERSION, config::Config};

/// Largest number of copies until the store's key is unchanged during one. Keys change once in months.
const ATTEMPTS: usize = 3;

/// Copies all data into `file`, mode 0600, which appears only once it is complete. Blocking. Fails when `file` exists
/// and may not be replaced, or there is nothing to copy.
pub(crate) fn create(
    config: &Config,
    file: &Path,
    replace: bool,
    with_history: bool,
    at: String,
) -> anyhow::Result<Manifest> {
    anyhow::ensure!(replace || !file.exists(), "{} is there already: give another name, or --force", file.display());
    let folder = folder_of(file);
    anyhow::ensure!(folder.is_dir(), "{}: there is no such folder", folder.display());
    let staged = TempDir::with_prefix_in(".carteiro-backup-", folder)?;
    let mut files = stage(config, staged.path())?;
    if with_history {
        files.extend(stage_history(config, staged.path())?);
    }
    anyhow::ensure!(!files.is_empty(), "there is nothing to back up in {}", config.data_dir.display());
    let manifest = Manifest { format: Manifest::FORMAT, version: VERSION.to_owned(), at, files };
    let draft = NamedTempFile::new_in(folder)?;
    archive::write(io::BufWriter::new(draft.as_file()), &manifest, staged.path())?;
    let persisted = if replace { persist(draft, file) } else { persist_new(draft, file) };
    persisted.with_context(|| file.display().to_string())?;
    Ok(manifest)
}

/// Copies each part that exists into the folder `staged`.
fn stage(config: &Config, staged: &Path) -> anyhow::Result<Vec<FileEntry>> {
    for _ in 0..ATTEMPTS {
        let key = || BackupPart::StoreKey.path(config).and_then(|path| fs::read(path).ok());
        let before = key();
        for part in BackupPart::ALL {
            copy(part, config, staged)?;
        }
        // The copied key must be the one that sealed the copied store.
        if key() == before {
            let copied = BackupPart::ALL.into_iter().filter(|part| staged.join(part.name()).exists());
            return copied.map(|part| describe(part.name(), staged)).collect();
        }
    }
    anyhow::bail!("the store's key changed with every copy: try again")
}

/// Copies the files of history, where they are on this machine.
fn stage_history(config: &Config, staged: &Path) -> anyhow::Result<Vec<FileEntry>> {
    let Some(from) = history_folder(config).filter(|folder| folder.is_dir()) else { return Ok(Vec::new()) };
    let names = history::back_up_history(&from, &staged.join(HISTORY))?;
    names.iter().map(|name| describe(&format!("{HISTORY}/{name}"), staged)).collect()
}

fn copy(part: BackupPart, config: &Config, staged: &Path) -> anyhow::Result<()> {
    let Some(from) = part.path(config).filter(|path| path.exists()) else { return Ok(()) };
    let to = staged.join(part.name());
    // A previous attempt may have left the file.
    if to.exists() {
        fs::remove_file(&to)?;
    }
    match part {
        BackupPart::Broker => broker::sqlite::back_up(&from, &to)?,
        BackupPart::Store => store::back_up(&from, &to)?,
        BackupPart::Control => store::back_up_control_state(&from, &to)?,
        BackupPart::StoreKey | BackupPart::OperatorKey => {
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}

fn describe(name: &str, staged: &Path) -> anyhow::Result<FileEntry> {
    Ok(archive::copy(name, &mut File::open(staged.join(name))?, &mut io::sink())?)
}
