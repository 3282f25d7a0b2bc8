//! The broker that the configuration names.

use std::sync::Arc;

use anyhow::Context as _;
use broker::{
    Broker,
    rabbitmq::{Beat, RabbitMq},
    sqlite::Sqlite,
};
use service::{Clock, ConfigError, Exit};
use tokio::sync::{broadcast, watch};

use super::data_dir;
use crate::config::Config;

/// A broker, and what is wrong with it for good.
pub struct OpenBroker {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Something only a person can mend (a topology that is not as required), found before there was any session.
    pub defect: watch::Receiver<Option<String>>,
    /// How quickly it answers its connections' signs of life; nothing ever comes from the embedded one.
    pub beats: broadcast::Receiver<Beat>,
}

/// Opens the embedded file, or begins to connect.
///
/// # Errors
/// A file that cannot be used, or that another process holds; a URL that is none.
pub fn open_broker(config: &Config, clock: Clock) -> anyhow::Result<OpenBroker> {
    let (sender, defect) = watch::channel(None);
    if config.broker.is_embedded() {
        data_dir::make(&config.data_dir)?;
        let file = data_dir::broker_file(&config.data_dir);
        data_dir::make_file(&file).with_context(|| file.display().to_string()).context(Exit::Config)?;
        let broker = Sqlite::open(&file, clock).context(Exit::Config)?;
        return Ok(OpenBroker { broker: Arc::new(broker), defect, beats: broadcast::channel(1).1 });
    }
    let rabbit = RabbitMq::connect(&config.broker, clock, service::chance::rng())
        .map_err(|error| ConfigError::new("broker.url", error))?;
    let rabbit = Arc::new(rabbit);
    let beats = rabbit.beats();
    let broker = rabbit.clone();
    // Later on it is waited out, as everything is: a node that comes back may not have all its queues at once.
    tokio::spawn(async move {
        if let Err(found) = rabbit.first_session().await {
            sender.send_replace(Some(found.to_string()));
        }
    });
    Ok(OpenBroker { broker, defect, beats })
}
