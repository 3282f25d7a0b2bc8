//! A deliverer between the memory broker and a receiver that keeps to a script. Time is paused only where no socket is
//! involved.

mod addresses;
mod answers;
mod canaries;
mod deliveries;
mod endings;
mod ends_without_attempt;
pub(crate) mod fixture;
mod hostile;
mod measures;
mod memory;
mod network;
mod progress;
mod repeats;
mod requests;
mod scripted;
mod simulation;
mod trials;
mod usage;

use serde::{Deserialize, Serialize};
use service::Loader;

use crate::{DEFAULT_TOML, DelivererConfig, DelivererMetrics};

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Sections {
    deliverer: DelivererConfig,
}

/// The defaults, with waits short enough for tests and loopback allowed.
fn config() -> DelivererConfig {
    let span = |ms| schemas::Span(std::time::Duration::from_millis(ms));
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load().unwrap();
    DelivererConfig {
        connect_timeout: span(2_000),
        first_byte_timeout: span(400),
        // Tests look at all that is published.
        canary: span(0),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..loaded.config.deliverer
    }
}

#[test]
fn the_defaults_fill_the_section_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load().unwrap();
    assert_eq!(loaded.config.deliverer.retry, schemas::RetryPolicy::default());
    assert!(loaded.config.deliverer.allow_networks.is_empty());
    assert_eq!(service::config::uncommented(DEFAULT_TOML), Vec::<String>::new());
    let shown = service::config::keys_of(&loaded.show().unwrap()).unwrap();
    assert_eq!(shown, service::config::keys_of(DEFAULT_TOML).unwrap());
}

#[test]
fn the_metrics_can_be_made() {
    DelivererMetrics::register(&Default::default()).unwrap();
}
