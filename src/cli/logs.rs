//! Where the commands read dead letters and parked messages: straight from RabbitMQ's streams, or from the embedded
//! broker's file, which is only ever read.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use broker::{Broker, BrokerConfig, ConnectionState, Logs, rabbitmq::RabbitMq, sqlite::LogFile};
use service::{ConfigError, Exit};

use crate::config::Config;

/// How long a command waits for a broker. Roles wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the configuration names.
pub(super) enum Source {
    /// A RabbitMQ: it can be published to as well.
    Rabbit(Arc<RabbitMq>),
    /// The embedded broker's file.
    File(LogFile),
}

impl Source {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        if config.broker.is_embedded() {
            return Ok(Self::File(LogFile::new(crate::process::broker_file(&config.data_dir))));
        }
        connect(config).await.map(Self::Rabbit)
    }

    pub(super) fn logs(&self) -> &dyn Logs {
        match self {
            Self::Rabbit(broker) => &**broker,
            Self::File(archive) => archive,
        }
    }
}

/// Connects to RabbitMQ, or gives up. Only roles and `topology apply` declare: a mistyped prefix must not become queues.
pub(super) async fn connect(config: &Config) -> anyhow::Result<Arc<RabbitMq>> {
    let broker = BrokerConfig { declare: false, ..config.broker.clone() };
    let broker = RabbitMq::connect(&broker, service::clock::system(), service::chance::rng())
        .map_err(|error| ConfigError::new("broker.url", error))?;
    match tokio::time::timeout(PATIENCE, broker.first_session()).await {
        Ok(session) => session.context(Exit::Config)?,
        Err(_) => {
            return Err(anyhow::anyhow!(in_words(&broker.connection_state().borrow())).context(Exit::Unavailable));
        }
    }
    Ok(Arc::new(broker))
}

/// Why a broker cannot be worked with.
pub(super) fn in_words(link: &ConnectionState) -> String {
    match link {
        ConnectionState::Away(why) => why.clone(),
        ConnectionState::Blocked(why) => format!("the broker is blocked: {why}"),
        ConnectionState::Ready => "the broker was too slow".to_owned(),
    }
}
