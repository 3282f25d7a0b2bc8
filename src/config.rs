//! The whole configuration. Its sections belong to the crates that they configure.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use broker::BrokerConfig;
use control::ControlConfig;
use deliverer::DelivererConfig;
use producer::ProducerConfig;
use router::RouterConfig;
use schemars::JsonSchema;
use schemas::Span;
use serde::{Deserialize, Serialize};
use service::{
    ConfigError, Loader, config::LoadedConfig, http::HttpConfig, ops::OpsConfig, telemetry::TelemetryConfig,
};
use store::{Location, StoreConfig};

/// The commented defaults of all sections.
pub const DEFAULT_TOML: &str = concat!(
    include_str!("../default.toml"),
    include_str!("../broker/default.toml"),
    "\n",
    include_str!("../store/default.toml"),
    "\n",
    include_str!("../service/default.toml"),
    "\n",
    include_str!("../producer/default.toml"),
    "\n",
    include_str!("../router/default.toml"),
    "\n",
    include_str!("../deliverer/default.toml"),
    "\n",
    include_str!("../control/default.toml"),
);

/// Smallest `broker.max_bytes`: what waits must leave room for events of the largest size.
const SMALLEST_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Smallest `broker.dead_letters_bytes` and `broker.parked_bytes`: two segments of a stream, which RabbitMQ deletes whole.
const SMALLEST_LOG_BYTES: u64 = 100_000_000;

/// Smallest `ops.max_stuck`. A role may be late for a moment.
const SHORTEST_MAX_STUCK: Span = Span(Duration::from_secs(1));

/// All settings of a process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the embedded broker, the embedded store, the last snapshot and the keys.
    pub data_dir: PathBuf,
    pub broker: BrokerConfig,
    #[serde(default)]
    pub store: StoreConfig,
    pub http: HttpConfig,
    pub ops: OpsConfig,
    pub telemetry: TelemetryConfig,
    pub producer: ProducerConfig,
    pub router: RouterConfig,
    pub deliverer: DelivererConfig,
    pub control: ControlConfig,
}

#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A file that must exist, instead of `carteiro.toml`.
    pub file: Option<PathBuf>,
    /// Dotted keys and their values as text.
    pub values: Vec<(String, String)>,
}

/// Reads the configuration from the defaults, the file, the given environment and the command line; later ones win.
/// Fails with the first invalid key, its reason and its origin.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<LoadedConfig<Config>, ConfigError> {
    // Keys of the previous version cause warnings in this version, and errors in the next.
    let loader = Loader::<Config>::new(DEFAULT_TOML)?.renamed("router.credit", "router.prefetch");
    let loader = loader.removed("broker.features");
    let loader = match &overrides.file {
        Some(file) => loader.file(file)?,
        None => loader.file_if_present(Path::new("carteiro.toml"))?,
    };
    let values = overrides.values.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    let loaded = loader.environment(environment)?.flags(values)?.load()?;
    check(&loaded)?;
    Ok(loaded)
}

fn check(loaded: &LoadedConfig<Config>) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let refuse = |key: &str, reason: &str| Err(loaded.error(key, reason));
    for (key, address) in [("http.listen", &config.http.listen), ("ops.listen", &config.ops.listen)] {
        if !is_host_and_port(address) {
            return refuse(key, "expected host:port");
        }
    }
    if !config.ops.max_stuck.0.is_zero() && config.ops.max_stuck < SHORTEST_MAX_STUCK {
        return refuse("ops.max_stuck", &format!("expected 0s or at least {SHORTEST_MAX_STUCK}"));
    }
    if let Err(error) = service::telemetry::check(&config.telemetry) {
        let origin = loaded.origin(error.key()).map(str::to_owned);
        return Err(match origin {
            Some(origin) => error.in_source(origin),
            None => error,
        });
    }
    let location = match config.store.location(&config.data_dir) {
        Ok(location) => location,
        Err(error) => return refuse("store.url", &error.to_string()),
    };
    if let Err((key, error)) = config.store.keyring(&[]) {
        return refuse(key, &error.to_string());
    }
    if matches!(location, Location::Postgres(_)) && config.store.encryption_key.is_none() {
        return refuse("store.encryption_key", "postgres: needs one, the same in all processes");
    }
    let is_known = ["embedded:", "amqp://", "amqps://"].iter().any(|scheme| config.broker.url.starts_with(scheme));
    if !is_known {
        return refuse("broker.url", "expected embedded:, amqp://… or amqps://…");
    }
    if config.broker.prefix.is_empty() || config.broker.prefix.len() > 64 {
        return refuse("broker.prefix", "expected 1 to 64 bytes");
    }
    if (1..SMALLEST_MAX_BYTES).contains(&config.broker.max_bytes) {
        return refuse("broker.max_bytes", &format!("expected 0, or at least {SMALLEST_MAX_BYTES}"));
    }
    for (key, bytes) in [("dead_letters", config.broker.dead_letters_bytes), ("parked", config.broker.parked_bytes)] {
        if bytes < SMALLEST_LOG_BYTES {
            return refuse(&format!("broker.{key}_bytes"), &format!("expected at least {SMALLEST_LOG_BYTES}"));
        }
    }
    for (key, slots) in [("slots", config.deliverer.slots), ("slow_slots", config.deliverer.slow_slots)] {
        if slots == 0 {
            return refuse(&format!("deliverer.{key}"), "expected at least 1");
        }
    }
    let bytes = [("deliverer", config.deliverer.max_in_flight_bytes), ("router", config.router.max_in_flight_bytes)];
    for (role, bytes) in bytes {
        if bytes == 0 {
            return refuse(&format!("{role}.max_in_flight_bytes"), "expected at least 1");
        }
    }
    if let Err((key, reason)) = config.producer.validate() {
        return refuse(key, &reason);
    }
    if let Err((key, reason)) = config.deliverer.validate() {
        return refuse(key, &reason);
    }
    if config.http.requests_burst == 0 {
        return refuse("http.requests_burst", "expected at least 1");
    }
    if config.router.prefetch == 0 {
        return refuse("router.prefetch", "expected at least 1");
    }
    Ok(())
}

/// True for `host:port`. Whether it can be bound is not checked.
fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
