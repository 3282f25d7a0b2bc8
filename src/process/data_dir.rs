//! The data folder: what is in it, message bodies included, is for the one who runs the process.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use service::ConfigError;

/// The embedded broker's file.
pub fn broker_file(data_dir: &Path) -> PathBuf {
    data_dir.join("broker.db")
}

/// The key of the embedded store, where none is configured.
pub fn store_key(data_dir: &Path) -> PathBuf {
    data_dir.join("store.key")
}

/// There while a restore puts files in their places: until it is gone, they may be of different times.
pub fn unfinished_restore(data_dir: &Path) -> PathBuf {
    data_dir.join("restore.unfinished")
}

/// Makes the folder where it is missing, mode 0700. One that is there stays as it is.
///
/// # Errors
/// What the file system says.
pub fn make(data_dir: &Path) -> Result<(), ConfigError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|error| ConfigError::new("data_dir", format!("{}: {error}", data_dir.display())))
}

/// That its files are of one time.
///
/// # Errors
/// That a restore into it has not come to its end.
pub(super) fn check(data_dir: &Path) -> Result<(), ConfigError> {
    if unfinished_restore(data_dir).exists() {
        let why = "a restore into it has not come to its end: run `carteiro restore --force` again";
        return Err(ConfigError::new("data_dir", format!("{}: {why}", data_dir.display())));
    }
    Ok(())
}

/// Makes an empty file where it is missing, mode 0600; SQLite gives the files beside it the same mode.
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
    fn what_is_made_is_for_its_owner_only_and_what_is_there_stays() {
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
}
