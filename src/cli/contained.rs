//! A whole carteiro inside a command (`demo`, `bench`): all roles in this process, on free ports of this machine, with its
//! own tenants, in a temporary folder; on a `--broker` with names of its own, for whoever made them to remove.

use std::{path::Path, time::Duration};

use broker::ConnectionState;
use service::Exit;

use super::{logs::in_words, setup::Setup};
use crate::{config::Config, process::Process};

/// What is installed already is there by then.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the command says of it.
pub(super) struct Contained<'a> {
    /// The command: part of the names on a broker.
    pub(super) name: &'a str,
    /// Instead of the embedded one.
    pub(super) broker: Option<&'a str>,
    /// Where everything is kept.
    pub(super) folder: &'a Path,
    /// The tenants, as YAML.
    pub(super) tenants: &'a str,
    /// What it wants otherwise than it is configured here.
    pub(super) settings: &'a [(&'a str, &'a str)],
}

impl Contained<'_> {
    /// Writes the tenants, and says how to run.
    pub(super) fn configure(&self, setup: &Setup) -> anyhow::Result<Config> {
        let conf_d = self.folder.join("conf.d");
        std::fs::create_dir(&conf_d)?;
        std::fs::write(conf_d.join("tenants.yaml"), self.tenants)?;
        let token = service::chance::token()?;
        let name = format!("carteiro-{}-{}", self.name, &token[..8]);
        let (data_dir, store) = (self.folder.display().to_string(), format!("file:{}", conf_d.display()));
        let mut values = vec![
            ("data_dir", data_dir.as_str()),
            ("store.url", &store),
            ("http.listen", "127.0.0.1:0"),
            ("http.operator_key", &token),
            ("ops.listen", "127.0.0.1:0"),
            ("deliverer.allow_networks", "127.0.0.0/8"),
            ("broker.url", self.broker.unwrap_or("embedded:")),
        ];
        if self.broker.is_some() {
            values.extend([("broker.prefix", name.as_str()), ("broker.exchange", &name), ("broker.declare", "true")]);
        }
        values.extend(self.settings);
        let mut config = setup.load(&values)?.config;
        // A carteiro.toml here may be of a server, whose certificate is not for a free port of this machine.
        config.http.tls = None;
        Ok(config)
    }
}

/// Nobody who plays waits for a broker to be installed.
///
/// # Errors
/// What is the matter with it ([`Exit::Unavailable`]).
pub(super) async fn wait_for_broker(process: &Process) -> anyhow::Result<()> {
    let mut link = process.broker.connection_state();
    let ready = tokio::time::timeout(PATIENCE, link.wait_for(|link| *link == ConnectionState::Ready)).await;
    if ready.is_err() {
        return Err(anyhow::anyhow!(in_words(&process.broker.connection_state().borrow())).context(Exit::Unavailable));
    }
    Ok(())
}
