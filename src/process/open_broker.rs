//! Opens the broker that the configuration names.

use std::sync::Arc;

use anyhow::Context as _;
use broker::{
    Broker,
    rabbitmq::{ConnectionHeartbeat, RabbitMq},
    sqlite::{Sqlite, StorageState},
};
use service::{Clock, ConfigError, Exit};
use tokio::sync::{broadcast, watch};

use super::data_dir;
use crate::config::Config;

pub struct OpenBroker {
    pub broker: Arc<dyn Broker>,
    /// The same broker, if it is a RabbitMQ.
    pub rabbitmq: Option<Arc<RabbitMq>>,
    /// A defect that requires an operator (a wrong topology), found before the first session.
    pub defect: watch::Receiver<Option<String>>,
    /// Response times of the connections' liveness probes; the embedded broker has none.
    pub heartbeats: broadcast::Receiver<ConnectionHeartbeat>,
    /// How full the embedded broker is; always empty for RabbitMQ.
    pub storage: watch::Receiver<StorageState>,
}

/// Opens the embedded file, or begins to connect. Fails when the file cannot be used or another process holds it, or
/// the URL cannot be used.
pub fn open_broker(config: &Config, clock: Clock) -> anyhow::Result<OpenBroker> {
    let (sender, defect) = watch::channel(None);
    if config.broker.is_embedded() {
        data_dir::make(&config.data_dir)?;
        let file = data_dir::broker_file(&config.data_dir);
        data_dir::make_file(&file).with_context(|| file.display().to_string()).context(Exit::Config)?;
        let broker = Sqlite::open_within(&file, config.broker.max_bytes, config.broker.log_bytes(), clock)
            .context(Exit::Config)?;
        let (storage, heartbeats) = (broker.storage(), broadcast::channel(1).1);
        return Ok(OpenBroker { broker: Arc::new(broker), rabbitmq: None, defect, heartbeats, storage });
    }
    let rabbitmq = RabbitMq::connect(&config.broker, clock, service::chance::rng())
        .map_err(|error| ConfigError::new("broker.url", error))?;
    let rabbitmq = Arc::new(rabbitmq);
    let heartbeats = rabbitmq.heartbeats();
    let (broker, watched) = (rabbitmq.clone(), rabbitmq.clone());
    // Later defects are tolerated: a restarting node may not have all its queues at once.
    tokio::spawn(async move {
        if let Err(found) = watched.first_session().await {
            sender.send_replace(Some(found.to_string()));
        }
    });
    let storage = watch::channel(StorageState::default()).1;
    Ok(OpenBroker { broker, rabbitmq: Some(rabbitmq), defect, heartbeats, storage })
}
