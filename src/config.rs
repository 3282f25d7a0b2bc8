//! The whole configuration. Its sections belong to the crates that they configure.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use broker::BrokerConfig;
use control::ControlConfig;
use deliverer::DelivererConfig;
use history::HistoryConfig;
use producer::ProducerConfig;
use router::RouterConfig;
use schemars::JsonSchema;
use schemas::Span;
use serde::{Deserialize, Serialize};
use service::{
    ConfigError, Loader,
    config::{ConfigErrors, LoadedConfig},
    http::HttpConfig,
    ops::OpsConfig,
    telemetry::TelemetryConfig,
};
use store::{Location, StoreConfig};

/// The commented defaults of all sections.
pub const DEFAULT_TOML: &str = concat!(
    include_str!("../default.toml"),
    include_str!("../broker/default.toml"),
    "\n",
    include_str!("../store/default.toml"),
    "\n",
    include_str!("../history/default.toml"),
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

/// Largest `worker_threads`.
const MOST_THREADS: usize = 1_024;

/// Smallest `ops.max_stuck`. A role may be late for a moment.
const SHORTEST_MAX_STUCK: Span = Span(Duration::from_secs(1));

/// All settings of a process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the embedded broker, the embedded store, the last snapshot and the keys.
    pub data_dir: PathBuf,
    /// Threads that run the tasks of a process; 0: one less than there are cores.
    pub worker_threads: usize,
    pub broker: BrokerConfig,
    #[serde(default)]
    pub store: StoreConfig,
    pub history: HistoryConfig,
    pub http: HttpConfig,
    pub ops: OpsConfig,
    pub telemetry: TelemetryConfig,
    pub producer: ProducerConfig,
    pub router: RouterConfig,
    pub deliverer: DelivererConfig,
    pub control: ControlConfig,
}

impl Config {
    /// The number of threads that run tasks, at least one. One core is left to the threads of the broker's connection or
    /// file: threads that wait for each other wake each other for every message.
    pub fn worker_threads(&self) -> usize {
        match self.worker_threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
            threads => threads,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A file that must exist, instead of `carteiro.toml`.
    pub file: Option<PathBuf>,
    /// Dotted keys and their values as text.
    pub values: Vec<(String, String)>,
}

/// Reads the configuration from the defaults, the file, the given environment and the command line; later ones win.
/// Fails with all keys that cannot be used, each with its reason and its origin.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<LoadedConfig<Config>, ConfigErrors> {
    // Keys of the previous version cause warnings in this version, and errors in the next.
    let loader = Loader::<Config>::new(DEFAULT_TOML)?.renamed("router.credit", "router.prefetch");
    let loader = loader.removed("broker.features");
    let loader = match &overrides.file {
        Some(file) => loader.file(file)?,
        None => loader.file_if_present(Path::new("carteiro.toml"))?,
    };
    let values = overrides.values.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    loader.environment(environment).flags(values).load(check)
}

/// Returns what is wrong with values that have the right types.
fn check(loaded: &LoadedConfig<Config>) -> Vec<ConfigError> {
    let config = &loaded.config;
    let mut errors = Vec::new();
    let mut require = |is_right: bool, key: &str, reason: &str| {
        if !is_right {
            errors.push(loaded.error(key, reason));
        }
    };
    require(!config.data_dir.as_os_str().is_empty(), "data_dir", "is empty: name a folder, such as ./carteiro-data");
    for (key, address) in [("http.listen", &config.http.listen), ("ops.listen", &config.ops.listen)] {
        require(is_host_and_port(address), key, "expected host:port");
    }
    require(config.worker_threads <= MOST_THREADS, "worker_threads", &format!("expected at most {MOST_THREADS}"));
    let max_stuck = config.ops.max_stuck;
    let reason = format!("expected 0s or at least {SHORTEST_MAX_STUCK}");
    require(max_stuck.0.is_zero() || max_stuck >= SHORTEST_MAX_STUCK, "ops.max_stuck", &reason);
    let BrokerConfig { url, prefix, max_bytes, dead_letters_bytes, parked_bytes, .. } = &config.broker;
    let is_known = ["embedded:", "amqp://", "amqps://"].iter().any(|scheme| url.starts_with(scheme));
    require(is_known, "broker.url", "expected embedded:, amqp://… or amqps://…");
    require((1..=64).contains(&prefix.len()), "broker.prefix", "expected 1 to 64 bytes");
    let reason = format!("expected 0, or at least {SMALLEST_MAX_BYTES}");
    require(!(1..SMALLEST_MAX_BYTES).contains(max_bytes), "broker.max_bytes", &reason);
    let reason = format!("expected at least {SMALLEST_LOG_BYTES}");
    for (key, bytes) in [("broker.dead_letters_bytes", dead_letters_bytes), ("broker.parked_bytes", parked_bytes)] {
        require(*bytes >= SMALLEST_LOG_BYTES, key, &reason);
    }
    for (key, is_zero) in [
        ("deliverer.slots", config.deliverer.slots == 0),
        ("deliverer.slow_slots", config.deliverer.slow_slots == 0),
        ("deliverer.max_in_flight_bytes", config.deliverer.max_in_flight_bytes == 0),
        ("router.max_in_flight_bytes", config.router.max_in_flight_bytes == 0),
        ("router.prefetch", config.router.prefetch == 0),
        ("http.requests_burst", config.http.requests_burst == 0),
    ] {
        require(!is_zero, key, "expected at least 1");
    }
    for found in [config.producer.validate(), config.deliverer.validate(), config.history.validate()] {
        errors.extend(found.err().map(|(key, reason)| loaded.error(key, reason)));
    }
    errors.extend(check_store(loaded));
    if let Err(error) = service::telemetry::check(&config.telemetry) {
        let origin = loaded.origin(error.key()).map(str::to_owned);
        errors.push(match origin {
            Some(origin) => error.in_source(origin),
            None => error,
        });
    }
    errors
}

fn check_store(loaded: &LoadedConfig<Config>) -> Vec<ConfigError> {
    let (mut errors, store) = (Vec::new(), &loaded.config.store);
    errors.extend(store.keyring(&[]).err().map(|(key, error)| loaded.error(key, error)));
    match store.location(&loaded.config.data_dir) {
        Ok(Location::Postgres(_)) if store.encryption_key.is_none() => {
            let why = "postgres: needs one, the same in all processes";
            errors.push(loaded.error("store.encryption_key", why));
        }
        Ok(_) => {}
        Err(error) => errors.push(loaded.error("store.url", error)),
    }
    errors
}

/// True for `host:port`. Whether it can be bound is not checked.
fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
