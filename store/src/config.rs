//! The section `store` of the configuration: which store, where, and with which keys it encrypts.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use schemas::Secret;
use serde::{Deserialize, Serialize};

use crate::{Keyring, WeakKey};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:FILE`, `postgres://…` or `file:FOLDER`, with paths relative to the working directory. [`Location`] has
    /// the default.
    pub url: Option<String>,
    /// Key that secrets are encrypted with.
    pub encryption_key: Option<Secret>,
    /// Keys that secrets may have been encrypted with before.
    pub old_encryption_keys: Vec<Secret>,
    /// Days that changes stay in the audit log.
    pub audit_days: NonZeroU32,
    /// Days that usage stays.
    pub usage_days: NonZeroU32,
}

/// The values of `default.toml`.
impl Default for StoreConfig {
    fn default() -> Self {
        let (audit_days, usage_days) = (AUDIT_DAYS, USAGE_DAYS);
        Self { url: None, encryption_key: None, old_encryption_keys: Vec::new(), audit_days, usage_days }
    }
}

/// One year: questions about older changes are rare.
const AUDIT_DAYS: NonZeroU32 = NonZeroU32::new(365).unwrap();

/// A year, and a month to compare it with.
const USAGE_DAYS: NonZeroU32 = NonZeroU32::new(400).unwrap();

/// Where tenants are stored. Without `store.url`, it is the folder `conf.d` in the data folder if that exists and
/// `store.db` does not, else the file `store.db` in the data folder.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    Sqlite(PathBuf),
    /// The URL of a database, which may hold a password.
    Postgres(String),
}

/// `store.url` names no store. The message does not repeat it: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sqlite:` and a file, `postgres://user:password@host/database`, or `file:` and a folder")]
pub struct InvalidStoreUrl;

impl StoreConfig {
    /// Where tenants are stored.
    ///
    /// # Errors
    /// A URL that names no kind of store.
    pub fn location(&self, data_dir: &Path) -> Result<Location, InvalidStoreUrl> {
        let Some(url) = &self.url else { return Ok(Location::left_out(data_dir)) };
        // An absolute path may also be written as a URL: `file:///etc/carteiro`.
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

    pub fn audit_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.audit_days.get()) * 24 * 60 * 60)
    }

    pub fn usage_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.usage_days.get()) * 24 * 60 * 60)
    }

    /// Returns the keys of this section and those of a [`KeyFile`](crate::KeyFile), the newest first. Returns none when
    /// neither has any.
    ///
    /// # Errors
    /// A key is too short. The error names its configuration key.
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

/// Does not show a URL.
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
