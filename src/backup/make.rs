//! Making a backup, while a process runs or not.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::Context as _;
use service::atomic_file::{folder_of, persist, persist_new};
use tempfile::{NamedTempFile, TempDir};

use super::{
    archive,
    manifest::{Entry, Manifest},
    part::Part,
};
use crate::{VERSION, config::Config};

/// How often a store is copied again because its key changed meanwhile. Keys change once in months.
const COPIES: usize = 3;

/// Copies everything there is into `file`, mode 0600, which is there as a whole or not at all. Blocking.
///
/// # Errors
/// Where `file` exists and may not be replaced, there is nothing, or something cannot be read or written.
pub(crate) fn make(config: &Config, file: &Path, replace: bool, at: String) -> anyhow::Result<Manifest> {
    anyhow::ensure!(replace || !file.exists(), "{} is there already: give another name, or --force", file.display());
    let folder = folder_of(file);
    anyhow::ensure!(folder.is_dir(), "{}: there is no such folder", folder.display());
    let staged = TempDir::with_prefix_in(".carteiro-backup-", folder)?;
    let files = stage(config, staged.path())?;
    anyhow::ensure!(!files.is_empty(), "there is nothing to back up in {}", config.data_dir.display());
    let manifest = Manifest { format: Manifest::FORMAT, version: VERSION.to_owned(), at, files };
    let draft = NamedTempFile::new_in(folder)?;
    archive::write(io::BufWriter::new(draft.as_file()), &manifest, staged.path())?;
    let persisted = if replace { persist(draft, file) } else { persist_new(draft, file) };
    persisted.with_context(|| file.display().to_string())?;
    Ok(manifest)
}

/// A copy of each part that is there.
fn stage(config: &Config, staged: &Path) -> anyhow::Result<Vec<Entry>> {
    for _ in 0..COPIES {
        let key = || Part::StoreKey.path(config).and_then(|path| fs::read(path).ok());
        let before = key();
        for part in Part::ALL {
            copy(part, config, staged)?;
        }
        // What was sealed with a key that came, or one that went, could not be read again.
        if key() == before {
            let there = Part::ALL.into_iter().filter(|part| staged.join(part.name()).exists());
            return there.map(|part| describe(part.name(), staged)).collect();
        }
    }
    anyhow::bail!("the store's key changed with every copy: try again")
}

fn copy(part: Part, config: &Config, staged: &Path) -> anyhow::Result<()> {
    let Some(from) = part.path(config).filter(|path| path.exists()) else { return Ok(()) };
    let to = staged.join(part.name());
    // Of an attempt before.
    if to.exists() {
        fs::remove_file(&to)?;
    }
    match part {
        Part::Broker => broker::sqlite::back_up(&from, &to)?,
        Part::Store => store::back_up(&from, &to)?,
        Part::StoreKey | Part::OperatorKey => {
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}

fn describe(name: &str, staged: &Path) -> anyhow::Result<Entry> {
    Ok(archive::copy(name, &mut File::open(staged.join(name))?, &mut io::sink())?)
}
