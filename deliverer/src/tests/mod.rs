//! A deliverer between the memory broker and a receiver that follows a script. Time is paused only where no real socket is
//! involved.

mod addresses;
mod answers;
mod canaries;
mod clock;
mod deliveries;
mod direct;
mod endings;
mod ends_without_attempt;
pub(crate) mod fixture;
mod hostile;
mod idle_connections;
mod measures;
mod memory_network;
mod network;
mod paused;
mod progress;
mod requests;
mod scripted;
mod simulation;
mod test_deliveries;
mod usage;

use std::sync::Arc;

use schemas::Endpoint;
use serde::{Deserialize, Serialize};
use service::Loader;

use crate::{
    DEFAULT_TOML, DelivererConfig,
    limits::{SlotCounts, Slots, UptimeClock},
    post::{Network, Poster, PreparedEndpoint},
};

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Sections {
    deliverer: DelivererConfig,
}

/// The defaults as they are delivered: 3 s to connect, 10 s for the first byte, 64 KiB of a response.
fn defaults() -> DelivererConfig {
    Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap().config.deliverer
}

/// The defaults with waits short enough for tests, without canaries, and with loopback addresses allowed.
fn config() -> DelivererConfig {
    let span = |ms| schemas::Span(std::time::Duration::from_millis(ms));
    DelivererConfig {
        connect_timeout: span(2_000),
        first_byte_timeout: span(400),
        // Tests look at everything that is published.
        canary: span(0),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..defaults()
    }
}

/// A poster on this network, whose clock stands still at `START`.
fn poster(network: Network, config: &DelivererConfig) -> anyhow::Result<Poster> {
    let clock: service::Clock = Arc::new(|| fixture::START);
    let slots = Slots::new(SlotCounts { fast: config.slots, slow: config.slow_slots }, UptimeClock::start());
    Poster::new(config, network, slots, clock)
}

/// An endpoint, prepared for requests.
fn prepared(endpoint: serde_json::Value) -> PreparedEndpoint {
    prepared_of("acme", endpoint)
}

fn prepared_of(tenant: &str, endpoint: serde_json::Value) -> PreparedEndpoint {
    let endpoint: Endpoint = serde_json::from_value(endpoint).expect("an endpoint");
    PreparedEndpoint::of(tenant, &Arc::new(endpoint))
}

#[test]
fn the_defaults_fill_the_section_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    assert_eq!(loaded.config.deliverer.retry, schemas::RetryPolicy::default());
    assert!(loaded.config.deliverer.allow_networks.is_empty());
    assert_eq!(service::config::uncommented(DEFAULT_TOML), Vec::<String>::new());
    let shown = service::config::keys_of(&loaded.show().unwrap()).unwrap();
    assert_eq!(shown, service::config::keys_of(DEFAULT_TOML).unwrap());
}
