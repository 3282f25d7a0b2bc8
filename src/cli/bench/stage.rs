//! Where a scenario is played: all roles in this process, on free ports and in a temporary folder, or on `--broker` with
//! names of its own, which are removed.

use std::net::SocketAddr;

use anyhow::Context as _;
use broker::{BrokerConfig, rabbitmq};
use tokio_util::sync::CancellationToken;

use super::Setup;
use crate::{
    cli::{
        client::{ApiArgs, Client},
        contained::{Contained, wait_for_broker},
    },
    process::{self, Process, Roles},
};

/// A running process with its own tenants.
pub(super) struct Stage {
    process: Process,
    end: CancellationToken,
    broker: BrokerConfig,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// With these tenants, as YAML.
    pub(super) async fn set(setup: &Setup, broker: Option<&str>, conf: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let contained = Contained {
            name: "bench",
            broker,
            folder: folder.path(),
            tenants: conf,
            settings: &[("telemetry.level", "error")],
        };
        let config = contained.configure(setup)?;
        let own = CancellationToken::new();
        let end = own.clone();
        let process = process::start(&config, Roles::STANDALONE, own).await?;
        wait_for_broker(&process).await?;
        Ok(Self { process, end, broker: config.broker, _folder: folder })
    }

    /// A client of its API.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let http: SocketAddr = self.process.http.context("the process has no API")?;
        let key = self.process.operator_key.as_ref().map(|key| key.reveal().to_owned());
        Client::of(&ApiArgs { url: Some(format!("http://{http}")), key, ca_file: None })
    }

    /// Ends it, and removes what it made.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        self.end.cancel();
        self.process.finish().await?;
        if !self.broker.is_embedded() {
            rabbitmq::remove(&self.broker).await?;
        }
        Ok(())
    }
}

/// Says so once: several stages are set one after the other.
pub(super) fn log(setup: &Setup) -> anyhow::Result<()> {
    setup.log(&setup.load(&[("telemetry.level", "error")])?.config, &[])
}
