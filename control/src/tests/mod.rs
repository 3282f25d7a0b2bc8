//! Dead letters, their replays and what is parked, on the memory broker.

mod api;
mod audit;
mod backlog;
mod dead_letter_quota;
mod dead_letters;
mod findings;
pub(crate) mod fixture;
mod jobs;
mod log_scans;
mod parked;
mod reading_broker;
mod replay_api;
mod replays;

use serde::{Deserialize, Serialize};
use service::Loader;

use crate::{ControlConfig, ControlMetrics, DEFAULT_TOML};

/// The defaults, but for replays: two at once.
fn config() -> ControlConfig {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    ControlConfig { max_replays: 2, ..loaded.config.control }
}

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Sections {
    control: ControlConfig,
}

#[test]
fn the_defaults_fill_the_section_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    assert_eq!((f64::from(loaded.config.control.replays_per_second), loaded.config.control.max_replays), (500.0, 8));
    assert_eq!(service::config::uncommented(DEFAULT_TOML), Vec::<String>::new());
    let shown = service::config::keys_of(&loaded.show().unwrap()).unwrap();
    assert_eq!(shown, service::config::keys_of(DEFAULT_TOML).unwrap());
    let known = serde_json::to_value(&loaded.config.control).unwrap();
    assert_eq!(known.as_object().unwrap().len(), shown.len(), "a key without a default would be refused as unknown");
}

#[test]
fn the_metrics_can_be_made() {
    ControlMetrics::register(&Default::default()).unwrap();
}
