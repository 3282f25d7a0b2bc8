//! A complete carteiro for a command (`demo`, `bench`): on free ports, with tenants of its own, in a temporary folder, all
//! roles in this process or roles as processes of their own. On a given RabbitMQ it uses names of its own, which
//! [`Sandbox::remove`] deletes.

use std::time::Duration;

use anyhow::Context as _;
use broker::{ConnectionState, rabbitmq};
use service::Exit;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{client::Client, logs::unavailable, server::ServerAddress, setup::Setup};
use crate::{
    config::Config,
    process::{self, Process, Roles},
};

/// Longest wait for the broker, which should be running already.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Differences of a sandbox from the configuration.
pub(super) struct SandboxOptions<'a> {
    /// Name of the command, which is part of the names on a RabbitMQ.
    pub(super) command: &'a str,
    /// URL of a RabbitMQ. Without it, the embedded broker is used.
    pub(super) broker: Option<&'a str>,
    pub(super) tenants: &'a str,
    pub(super) settings: &'a [(&'a str, &'a str)],
}

pub(super) struct Sandbox {
    pub(super) config: Config,
    /// What differs from the configuration: dotted keys and their values as text.
    settings: Vec<(String, String)>,
    _folder: TempDir,
}

impl Sandbox {
    /// Writes the tenants and a configuration into a temporary folder. Starts nothing.
    pub(super) fn prepare(setup: &Setup, options: &SandboxOptions<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let conf_d = folder.path().join("conf.d");
        std::fs::create_dir(&conf_d)?;
        std::fs::write(conf_d.join("tenants.yaml"), options.tenants)?;
        let token = service::chance::token()?;
        let name = format!("carteiro-{}-{}", options.command, &token[..8]);
        let (data_dir, store) = (folder.path().display().to_string(), format!("file:{}", conf_d.display()));
        let mut values = vec![
            ("data_dir", data_dir.as_str()),
            ("store.url", &store),
            ("http.listen", "127.0.0.1:0"),
            ("http.operator_key", &token),
            ("ops.listen", "127.0.0.1:0"),
            ("deliverer.allow_networks", "127.0.0.0/8"),
            ("broker.url", options.broker.unwrap_or("embedded:")),
        ];
        if options.broker.is_some() {
            values.extend([("broker.prefix", name.as_str()), ("broker.exchange", &name), ("broker.declare", "true")]);
        }
        values.extend(options.settings);
        let mut config = setup.load(&values)?.config;
        // A carteiro.toml here may be a server's, whose certificate does not fit this machine's free port.
        config.http.tls = None;
        let settings = values.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
        Ok(Self { config, settings, _folder: folder })
    }

    /// This binary with a role, as a process of its own on the sandbox, with settings of that process. It is not started.
    pub(super) fn command(&self, setup: &Setup, role: &str, own: &[(&str, &str)]) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("finding this binary")?);
        let is_ours = |key: &str| self.settings.iter().any(|(ours, _)| ours == key);
        if let Some(file) = &setup.overrides.file {
            command.arg("--config").arg(file);
        }
        for (key, text) in setup.overrides.values.iter().filter(|(key, _)| !is_ours(key)) {
            command.args(["--set", &format!("{key}={text}")]);
        }
        // Keys and passwords are in the environment, because everyone on the machine can read command lines.
        let settings = self.settings.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        for (key, text) in settings.chain(own.iter().copied()) {
            command.env(format!("CARTEIRO_{}", key.to_uppercase().replace('.', "__")), text);
        }
        command.arg(role);
        Ok(command)
    }

    /// Starts all roles, and waits until the broker is ready. Fails with [`Exit::Unavailable`] if that takes too long.
    pub(super) async fn start(&self, stop: CancellationToken) -> anyhow::Result<Process> {
        let process = process::start(&self.config, Roles::STANDALONE, stop).await?;
        let mut connection = process.broker.connection_state();
        let ready = connection.wait_for(|connection| *connection == ConnectionState::Ready);
        if tokio::time::timeout(BROKER_TIMEOUT, ready).await.is_err() {
            let reason = unavailable(&process.broker.connection_state().borrow());
            return Err(anyhow::anyhow!(reason).context(Exit::Unavailable));
        }
        Ok(process)
    }

    /// Deletes the sandbox's exchanges and queues from a RabbitMQ.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        let broker = &self.config.broker;
        if broker.is_embedded() {
            return Ok(());
        }
        rabbitmq::remove(broker).await.with_context(|| format!("removing what is called {}", broker.prefix))
    }
}

pub(super) fn client_of(process: &Process) -> anyhow::Result<Client> {
    let http = process.http.context("the process has no API")?;
    let key = process.operator_key.clone().context("the process has no operator's key")?;
    let address = ServerAddress::parse(&format!("http://{http}")).map_err(anyhow::Error::msg)?;
    Client::at(address, key, None)
}
