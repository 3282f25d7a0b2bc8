//! Control's API over the logs of a broker, for a command that reads them without a running process.

use std::{net::SocketAddr, sync::Arc};

use broker::Broker;
use schemas::Secret;
use service::{
    http::{HttpConfig, ServeOptions},
    listen,
    metrics::Registry,
};
use store::FileStore;
use tokio_util::sync::CancellationToken;

use super::roles::{Roles, SharedDependencies};
use crate::config::Config;

/// Serves control's API on a free port of this machine, until the process ends, with a key of its own. It knows no
/// tenants, follows no log, and changes nothing unless it is asked to.
pub async fn serve_logs(config: &Config, broker: Arc<dyn Broker>) -> anyhow::Result<(SocketAddr, Secret)> {
    let http = HttpConfig { tls: None, ..config.http.clone() };
    let listener = listen::bind("http.listen", "127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let key = Secret::not_empty(service::chance::token()?)?;
    // A folder that does not exist is a store without tenants.
    let folder = std::env::temp_dir().join(service::chance::token()?);
    let without_tenants = Arc::new(FileStore::open(&folder).await?);
    let (registry, clock, shutdown) =
        (Arc::new(Registry::default()), service::clock::system(), CancellationToken::new());
    let shared = SharedDependencies::new(broker, without_tenants, registry, clock, &shutdown);
    let api = shared.api(config, Roles { control: true, ..Roles::NONE }, Some(&key))?;
    let options = ServeOptions::new(&http).await?;
    tokio::spawn(api.serve(listener, options));
    Ok((address, key))
}
