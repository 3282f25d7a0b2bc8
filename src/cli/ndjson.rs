//! Records as lines of JSON, to standard output or into a file, which appears only once it is whole.

use std::{
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use broker::ReadError;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use serde::Serialize;
use service::Exit;
use tempfile::NamedTempFile;

use super::print;

/// Where the lines go.
#[derive(Debug, clap::Args)]
pub(super) struct To {
    /// Into this file, instead of standard output. One that is there is replaced.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl To {
    /// Writes them all, and says how many went into a file.
    ///
    /// # Errors
    /// When they cannot be read to the end ([`Exit::Unavailable`]) or written.
    pub(super) async fn write<T: Serialize>(
        &self,
        mut records: BoxStream<'_, Result<T, ReadError>>,
    ) -> anyhow::Result<Exit> {
        let Some(file) = &self.to else {
            while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
                print::json(&record)?;
            }
            return Ok(Exit::Done);
        };
        let mut draft = BufWriter::new(draft(file)?);
        let mut count = 0_u64;
        while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
            serde_json::to_writer(&mut draft, &record)?;
            draft.write_all(b"\n")?;
            count += 1;
        }
        let draft = draft.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        draft.as_file().sync_all()?;
        draft.persist(file).with_context(|| format!("writing {}", file.display()))?;
        print::line(format_args!("{count} in {}", file.display()))?;
        Ok(Exit::Done)
    }
}

/// Beside the file, so that it can take its place.
fn draft(file: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).with_context(|| format!("writing in {}", folder.display()))
}
