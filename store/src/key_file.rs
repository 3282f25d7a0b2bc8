//! The file with the store's own encryption keys, which is used when none is configured. It has one key per line, the
//! newest first, and mode 0600.

use std::{
    fs, io,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use schemas::Secret;
use service::{atomic_file, chance};

/// `store.key` in the data folder.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<Secret>,
}

impl KeyFile {
    /// Reads the file. A missing file has no keys.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Self { path: path.to_owned(), keys: lines.map(|line| Secret::from(line.to_owned())).collect() })
    }

    pub fn keys(&self) -> &[Secret] {
        &self.keys
    }

    /// Adds a new random key as the newest. It is on the disk before anything is sealed with it.
    ///
    /// # Errors
    /// The system gives no randomness, or the file cannot be written. The file stays as it was.
    pub fn add(&mut self) -> io::Result<()> {
        self.keys.insert(0, chance::token()?.into());
        self.write()
    }

    /// Removes all keys but the newest. Nothing may be sealed with the others.
    ///
    /// # Errors
    /// The file cannot be written. It stays as it was.
    pub fn keep_newest(&mut self) -> io::Result<()> {
        self.keys.truncate(1);
        self.write()
    }

    /// Writes the file atomically: without its keys, everything sealed with them is lost.
    fn write(&self) -> io::Result<()> {
        let text: String = self.keys.iter().map(|key| format!("{}\n", key.reveal())).collect();
        atomic_file::write(&self.path, |file| file.write_all(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_added_in_front_read_again_and_dropped_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/store.key");
        let mut file = KeyFile::read(&path).unwrap();
        assert!(file.keys().is_empty());
        file.add().unwrap();
        let first = file.keys()[0].clone();
        file.add().unwrap();
        let read = KeyFile::read(&path).unwrap();
        assert_eq!(read.keys(), [file.keys()[0].clone(), first.clone()]);
        assert_ne!(read.keys()[0], first);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        file.keep_newest().unwrap();
        assert_eq!(KeyFile::read(&path).unwrap().keys(), file.keys());
        assert!(!format!("{file:?}").contains(first.reveal()));
    }
}
