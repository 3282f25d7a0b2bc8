//! The operator's key: configured, or made at `standalone`'s first start and kept in the data folder.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use schemas::Secret;

use super::data_dir;
use crate::config::Config;

/// Finds the operator's key. If there is none, makes one if `may_make` is true.
pub(super) fn find(config: &Config, may_make: bool) -> anyhow::Result<Option<Secret>> {
    if let Some(key) = &config.http.operator_key {
        return Ok(Some(key.clone()));
    }
    let file = data_dir::operator_key_file(&config.data_dir);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(Secret::not_empty(text.trim()).with_context(|| file.display().to_string())?)),
        Err(error) if error.kind() == ErrorKind::NotFound && may_make => make(&file).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

fn make(file: &Path) -> anyhow::Result<Secret> {
    if let Some(folder) = file.parent() {
        data_dir::make(folder)?;
    }
    let key = format!("op_{}", service::chance::token()?);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| writeln!(opened, "{key}").and_then(|()| opened.sync_all()));
    written.with_context(|| format!("writing {}", file.display()))?;
    tracing::info!(file = %file.display(), "operator_key.made");
    Ok(Secret::not_empty(key)?)
}
