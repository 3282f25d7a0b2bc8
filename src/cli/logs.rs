//! The sources of dead letters and parked messages for the commands: RabbitMQ's streams, or the embedded broker's file,
//! which is opened read-only. Records are exported as lines of JSON.

use std::{
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use broker::{Broker, BrokerConfig, ConnectionState, Logs, ReadError, rabbitmq::RabbitMq, sqlite::LogFile};
use futures_util::{TryStreamExt as _, stream::BoxStream};
use serde::Serialize;
use service::{ConfigError, Exit};
use tempfile::NamedTempFile;

use super::output;
use crate::{config::Config, process::broker_file};

/// Longest wait of a command for its broker. Roles have no such limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Location of the configured broker's logs.
pub(super) enum LogSource {
    RabbitMq(Arc<RabbitMq>),
    File(LogFile),
}

impl LogSource {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        if config.broker.is_embedded() {
            return Ok(Self::File(LogFile::new(broker_file(&config.data_dir))));
        }
        connect(config).await.map(Self::RabbitMq)
    }

    pub(super) fn logs(&self) -> &dyn Logs {
        match self {
            Self::RabbitMq(broker) => &**broker,
            Self::File(archive) => archive,
        }
    }
}

/// Connects to RabbitMQ without declaring anything, because a mistyped prefix must not make queues. Fails with
/// [`Exit::Unavailable`] after [`CONNECT_TIMEOUT`], and with [`Exit::Config`] when the topology differs.
pub(super) async fn connect(config: &Config) -> anyhow::Result<Arc<RabbitMq>> {
    let broker = BrokerConfig { declare: false, ..config.broker.clone() };
    let broker = RabbitMq::connect(&broker, service::clock::system(), service::chance::rng())
        .map_err(|error| ConfigError::new("broker.url", error))?;
    match tokio::time::timeout(CONNECT_TIMEOUT, broker.first_session()).await {
        Ok(session) => session.context(Exit::Config)?,
        Err(_) => {
            let reason = unavailable(&broker.connection_state().borrow());
            return Err(anyhow::anyhow!(reason).context(Exit::Unavailable));
        }
    }
    Ok(Arc::new(broker))
}

/// Explains why a broker could not be used in time.
pub(super) fn unavailable(connection: &ConnectionState) -> String {
    match connection {
        ConnectionState::Away(why) => why.clone(),
        ConnectionState::Blocked(why) => format!("the broker is blocked: {why}"),
        ConnectionState::Ready => "the broker was too slow".to_owned(),
    }
}

/// Where an export is written.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Write into this file, replacing it, instead of to standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl ExportArgs {
    /// Writes all records as lines of JSON. A file appears, or is replaced, only once it is complete. Fails with
    /// [`Exit::Unavailable`] when the records cannot be read to the end.
    pub(super) async fn write<T: Serialize>(
        &self,
        mut records: BoxStream<'_, Result<T, ReadError>>,
    ) -> anyhow::Result<Exit> {
        let Some(file) = &self.to else {
            while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
                output::json(&record)?;
            }
            return Ok(Exit::Done);
        };
        let mut draft = BufWriter::new(draft_of(file)?);
        let mut count = 0_u64;
        while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
            serde_json::to_writer(&mut draft, &record)?;
            draft.write_all(b"\n")?;
            count += 1;
        }
        let draft = draft.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        draft.as_file().sync_all()?;
        draft.persist(file).with_context(|| format!("writing {}", file.display()))?;
        output::line(format_args!("{count} in {}", file.display()))?;
        Ok(Exit::Done)
    }
}

/// A temporary file in the folder of `file`, so that it can be renamed to it.
fn draft_of(file: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).with_context(|| format!("writing in {}", folder.display()))
}
