//! The data folder and its files. Only the process' user may read them, because they hold message bodies and keys.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use service::{
    ConfigError,
    sqlite_file::{FileLock, LockError},
};

pub fn broker_file(data_dir: &Path) -> PathBuf {
    data_dir.join("broker.db")
}

/// What control keeps beside a `file:` store: jobs and leases.
pub fn control_file(data_dir: &Path) -> PathBuf {
    data_dir.join("control.db")
}

/// The key of the embedded store, unless one is configured.
pub fn store_key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("store.key")
}

/// History, unless it is in a database.
pub fn history_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("history")
}

/// The operator's key that `standalone` made, unless one is configured.
pub fn operator_key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("operator.key")
}

/// The last snapshot of a database, for a start while the database is unreachable.
pub(super) fn snapshot(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshot")
}

/// A file that exists while a restore replaces the others, whose times may then differ.
pub fn unfinished_restore(data_dir: &Path) -> PathBuf {
    data_dir.join("restore.unfinished")
}

/// Makes the folder with mode 0700 if it is missing. An existing one keeps its mode.
pub fn make(data_dir: &Path) -> Result<(), ConfigError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|error| ConfigError::new("data_dir", format!("{}: {error}", data_dir.display())))
}

/// Keeps other processes from using the folder for their snapshots, until this process ends. Two of them would replace
/// each other's.
pub(super) fn lock_snapshot(data_dir: &Path) -> Result<FileLock, ConfigError> {
    FileLock::take(&data_dir.join("snapshot.lock")).map_err(|error| {
        let why = match error {
            LockError::Held => "another process uses this folder; each needs its own (--data-dir)".to_owned(),
            LockError::File { source, .. } => source.to_string(),
        };
        ConfigError::new("data_dir", format!("{}: {why}", data_dir.display()))
    })
}

/// Refuses a folder with an unfinished restore, whose files may have different times.
pub(super) fn refuse_unfinished_restore(data_dir: &Path) -> Result<(), ConfigError> {
    if unfinished_restore(data_dir).exists() {
        let why = "a restore into it has not come to its end: run `carteiro restore --force` again";
        return Err(ConfigError::new("data_dir", format!("{}: {why}", data_dir.display())));
    }
    Ok(())
}

/// Makes an empty file with mode 0600 if it is missing. SQLite gives its files beside it the same mode.
pub(super) fn make_file(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_made_for_their_owner_only_and_existing_ones_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("a/b");
        make(&data_dir).expect("made");
        let file = broker_file(&data_dir);
        make_file(&file).expect("made");
        std::fs::write(&file, "kept").expect("written");
        make(&data_dir).expect("there");
        make_file(&file).expect("there");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&data_dir), mode(&file)), (0o700, 0o600));
        assert_eq!(std::fs::read(&file).expect("readable"), b"kept");
    }

    #[test]
    fn a_folder_for_snapshots_has_one_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = lock_snapshot(folder.path()).expect("free");
        let refused = lock_snapshot(folder.path()).map(drop).expect_err("taken").to_string();
        assert!(refused.starts_with("data_dir: ") && refused.contains("each needs its own (--data-dir)"), "{refused}");
        drop(first);
        lock_snapshot(folder.path()).expect("free again");
    }
}
