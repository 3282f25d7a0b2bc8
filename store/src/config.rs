//! The section `store` of the configuration: which store, where, and what it encrypts with.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use schemas::Secret;
use serde::{Deserialize, Serialize};

use crate::{Keyring, WeakKey};

/// The section `store`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:FILE`, `postgres://…` or `file:FOLDER`, paths relative to the working directory. Left out: see [`Location`].
    pub url: Option<String>,
    /// What secrets are encrypted with.
    pub encryption_key: Option<Secret>,
    /// What they may have been encrypted with before.
    pub old_encryption_keys: Vec<Secret>,
    /// How many days changes stay in the audit log.
    pub audit_days: NonZeroU32,
}

/// As in `default.toml`.
impl Default for StoreConfig {
    fn default() -> Self {
        let audit_days = AUDIT_DAYS;
        Self { url: None, encryption_key: None, old_encryption_keys: Vec::new(), audit_days }
    }
}

/// A year: whoever asks who changed what asks about a thing that is done once a year, at most.
const AUDIT_DAYS: NonZeroU32 = NonZeroU32::new(365).unwrap();

/// Where tenants are kept. With `store.url` left out: the folder `conf.d` in the data folder where that is there and
/// `store.db` is not, else the file `store.db` in it.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of YAML.
    Folder(PathBuf),
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of PostgreSQL; the URL may hold a password.
    Postgres(String),
}

/// Why `store.url` names no store. Repeats nothing: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sqlite:` and a file, `postgres://user:password@host/database`, or `file:` and a folder")]
pub struct InvalidStoreUrl;

impl StoreConfig {
    /// Where tenants are kept.
    ///
    /// # Errors
    /// Where the URL names no kind of store that there is.
    pub fn location(&self, data_dir: &Path) -> Result<Location, InvalidStoreUrl> {
        let Some(url) = &self.url else { return Ok(Location::left_out(data_dir)) };
        // `file:///etc/carteiro` is how the rest of the world writes an absolute path.
        let path = |path: &str| match path.strip_prefix("//").unwrap_or(path) {
            "" => Err(InvalidStoreUrl),
            path => Ok(PathBuf::from(path)),
        };
        match url.split_once(':') {
            Some(("file", folder)) => path(folder).map(Location::Folder),
            Some(("sqlite", file)) => path(file).map(Location::Sqlite),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => Ok(Location::Postgres(url.clone())),
            _ => Err(InvalidStoreUrl),
        }
    }

    /// How long changes stay in the audit log.
    pub fn audit_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.audit_days.get()) * 24 * 60 * 60)
    }

    /// The keys of this section, the newest first, and after them those of a [`KeyFile`](crate::KeyFile); none where neither has any.
    ///
    /// # Errors
    /// The name of a key of the configuration that is too short, and why that will not do.
    pub fn keyring(&self, of_file: &[Secret]) -> Result<Option<Keyring>, (&'static str, WeakKey)> {
        let check = |name, key| Keyring::new(key, []).map(drop).map_err(|weak| (name, weak));
        self.encryption_key.iter().try_for_each(|key| check("store.encryption_key", key))?;
        self.old_encryption_keys.iter().try_for_each(|key| check("store.old_encryption_keys", key))?;
        let mut keys = self.encryption_key.iter().chain(of_file).chain(&self.old_encryption_keys);
        let Some(newest) = keys.next() else { return Ok(None) };
        Keyring::new(newest, keys).map(Some).map_err(|weak| ("store.encryption_key", weak))
    }
}

impl Location {
    fn left_out(data_dir: &Path) -> Self {
        let (folder, file) = (data_dir.join("conf.d"), data_dir.join("store.db"));
        if folder.is_dir() && !file.exists() { Self::Folder(folder) } else { Self::Sqlite(file) }
    }
}

/// Without what a URL may hold.
impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "Folder({})", path.display()),
            Self::Sqlite(path) => write!(f, "Sqlite({})", path.display()),
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str) -> Result<Location, InvalidStoreUrl> {
        StoreConfig { url: Some(url.into()), ..StoreConfig::default() }.location(Path::new("data"))
    }

    #[test]
    fn left_out_it_is_a_database_unless_there_is_only_a_folder_of_yaml() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let location = || StoreConfig::default().location(data).unwrap();
        assert_eq!(location(), Location::Sqlite(data.join("store.db")));
        std::fs::create_dir(data.join("conf.d")).unwrap();
        assert_eq!(location(), Location::Folder(data.join("conf.d")));
        std::fs::write(data.join("store.db"), "").unwrap();
        assert_eq!(location(), Location::Sqlite(data.join("store.db")));
    }

    #[test]
    fn a_path_is_relative_to_the_working_directory_unless_it_is_absolute() {
        for (url, path) in [("conf", "conf"), ("/etc/conf", "/etc/conf"), ("///etc/conf", "/etc/conf")] {
            assert_eq!(location(&format!("file:{url}")), Ok(Location::Folder(path.into())));
            assert_eq!(location(&format!("sqlite:{url}")), Ok(Location::Sqlite(path.into())));
        }
    }

    #[test]
    fn a_url_of_postgresql_is_kept_and_never_shown() {
        for url in ["postgres://me:hunter2@db/carteiro", "postgresql://me:hunter2@db/carteiro?sslmode=require"] {
            let location = location(url).unwrap();
            assert_eq!(location, Location::Postgres(url.into()));
            assert!(!format!("{location:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_names_no_store_is_refused_without_repeating_it() {
        for url in ["conf.d", "file:", "sqlite:", "mysql://me:hunter2@db/carteiro", "postgres:password=hunter2"] {
            let refusal = location(url).unwrap_err();
            assert!(!refusal.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_keyring_begins_with_the_configured_key_and_names_a_short_one() {
        let key = |text: &str| Secret::from(text.to_owned());
        let long = || key("a key of many characters");
        let (with_key, short) = (Some(long()), vec![key("short")]);
        let config = StoreConfig { encryption_key: with_key.clone(), ..StoreConfig::default() };
        assert!(config.keyring(&[]).unwrap().is_some());
        assert!(StoreConfig::default().keyring(&[]).unwrap().is_none());
        assert!(StoreConfig::default().keyring(&[long()]).unwrap().is_some());
        let config = StoreConfig { encryption_key: with_key, old_encryption_keys: short, ..StoreConfig::default() };
        assert_eq!(config.keyring(&[]).unwrap_err().0, "store.old_encryption_keys");
        let config = StoreConfig { encryption_key: Some(key("short")), ..StoreConfig::default() };
        assert_eq!(config.keyring(&[]).unwrap_err().0, "store.encryption_key");
    }
}
