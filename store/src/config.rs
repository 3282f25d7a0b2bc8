//! The section `store` of the configuration: which store, and where.

use std::path::{Path, PathBuf};

use schemas::Secret;
use serde::{Deserialize, Serialize};

/// The section `store`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `file:PATH`, a folder of YAML, relative to the working directory. Left out: `conf.d` in `data_dir`.
    pub url: Option<String>,
    /// What stores that keep secrets encrypt them with.
    pub encryption_key: Option<Secret>,
}

/// Why `store.url` names no store. Repeats nothing but the scheme: a URL may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStoreUrl {
    /// A database: known, but this version has none.
    #[error("`{0}:` is not available in this version: use `file:` and a folder of YAML")]
    NotAvailable(String),
    /// Neither of the known ones.
    #[error("expected `file:` and a folder")]
    Unknown,
}

impl StoreConfig {
    /// The folder that the `file:` store reads.
    ///
    /// # Errors
    /// Where the URL names another kind of store, or none.
    pub fn folder(&self, data_dir: &Path) -> Result<PathBuf, InvalidStoreUrl> {
        let Some(url) = &self.url else { return Ok(data_dir.join("conf.d")) };
        match url.split_once(':') {
            // `file:///etc/carteiro` is how the rest of the world writes an absolute path.
            Some(("file", path)) => match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(InvalidStoreUrl::Unknown),
                path => Ok(path.into()),
            },
            Some((scheme @ ("sqlite" | "postgres" | "postgresql"), _)) => {
                Err(InvalidStoreUrl::NotAvailable(scheme.to_owned()))
            }
            _ => Err(InvalidStoreUrl::Unknown),
        }
    }

    /// What is set but has no effect in this version, a line each.
    pub fn not_in_force(&self) -> Vec<&'static str> {
        self.encryption_key.iter().map(|_| "store.encryption_key: the file: store encrypts nothing").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(url: Option<&str>) -> Result<PathBuf, InvalidStoreUrl> {
        StoreConfig { url: url.map(Into::into), encryption_key: None }.folder(Path::new("data"))
    }

    #[test]
    fn left_out_it_is_conf_d_in_the_data_dir() {
        assert_eq!(folder(None), Ok("data/conf.d".into()));
    }

    #[test]
    fn a_path_is_relative_to_the_working_directory_unless_it_is_absolute() {
        assert_eq!(folder(Some("file:conf")), Ok("conf".into()));
        assert_eq!(folder(Some("file:/etc/conf")), Ok("/etc/conf".into()));
        assert_eq!(folder(Some("file:///etc/conf")), Ok("/etc/conf".into()));
    }

    #[test]
    fn a_database_is_refused_without_repeating_its_password() {
        let refusal = folder(Some("postgres://me:hunter2@db/carteiro")).unwrap_err();
        assert_eq!(refusal, InvalidStoreUrl::NotAvailable("postgres".into()));
        assert!(!refusal.to_string().contains("hunter2"));
        assert_eq!(folder(Some("conf.d")), Err(InvalidStoreUrl::Unknown));
        assert_eq!(folder(Some("file:")), Err(InvalidStoreUrl::Unknown));
    }

    #[test]
    fn an_encryption_key_is_accepted_and_said_to_have_no_effect() {
        let config = StoreConfig { encryption_key: Some(Secret::from("k".to_owned())), ..StoreConfig::default() };
        assert_eq!(config.not_in_force().len(), 1);
        assert!(StoreConfig::default().not_in_force().is_empty());
    }
}
