//! Where a scenario is played: all roles in this process, on free ports and in a temporary folder, or on `--broker` with
//! names of its own, which are removed.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;
use broker::{BrokerConfig, rabbitmq};
use service::Shutdown;

use super::Setup;
use crate::{
    cli::{
        client::{ApiArgs, Client},
        demo::wait_for_broker,
    },
    config::Config,
    process::{self, Process, Roles},
};

/// A running process with its own tenants.
pub(super) struct Stage {
    process: Process,
    end: service::shutdown::Trigger,
    broker: BrokerConfig,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// With these tenants, as YAML.
    pub(super) async fn set(setup: &Setup, broker: Option<&str>, conf: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let config = configure(setup, broker, folder.path(), conf)?;
        let (own, end) = Shutdown::manual();
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
        self.end.request();
        self.process.finish().await?;
        if !self.broker.is_embedded() {
            rabbitmq::remove(&self.broker).await?;
        }
        Ok(())
    }
}

/// Says so once: several stages are set one after the other.
pub(super) fn log(setup: &Setup) -> anyhow::Result<()> {
    setup.log(&setup.load(&[("telemetry.level", "error")])?.config)
}

fn configure(setup: &Setup, broker: Option<&str>, folder: &Path, conf: &str) -> anyhow::Result<Config> {
    let conf_d = folder.join("conf.d");
    std::fs::create_dir(&conf_d)?;
    std::fs::write(conf_d.join("bench.yaml"), conf)?;
    let token = service::chance::token()?;
    let name = format!("carteiro-bench-{}", &token[..8]);
    let (data_dir, store) = (folder.display().to_string(), format!("file:{}", conf_d.display()));
    let mut values = vec![
        ("data_dir", data_dir.as_str()),
        ("store.url", &store),
        ("http.listen", "127.0.0.1:0"),
        ("http.operator_key", &token),
        ("ops.listen", "127.0.0.1:0"),
        ("deliverer.allow_networks", "127.0.0.0/8"),
        ("telemetry.level", "error"),
        ("broker.url", broker.unwrap_or("embedded:")),
    ];
    if broker.is_some() {
        values.extend([("broker.prefix", name.as_str()), ("broker.exchange", &name), ("broker.declare", "true")]);
    }
    let mut config = setup.load(&values)?.config;
    // A carteiro.toml here may be of a server, whose certificate is not for a free port of this machine.
    config.http.tls = None;
    Ok(config)
}
