//! A router between the hostile memory broker and a store that the test controls, under paused time.

mod confirms;
mod deliveries;
mod direct;
mod duplicates;
mod fixture;
mod isolation;
mod parked;
mod quota;
mod recording;
mod snapshots;
mod usage;

use serde::{Deserialize, Serialize};
use service::Loader;

use crate::{DEFAULT_TOML, RouterConfig, RouterMetrics};

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Sections {
    router: RouterConfig,
}

#[test]
fn the_defaults_fill_the_section_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    assert_eq!(loaded.config.router.max_fan_out, 1_000);
    assert_eq!(service::config::uncommented(DEFAULT_TOML), Vec::<String>::new());
    let shown = service::config::keys_of(&loaded.show().unwrap()).unwrap();
    assert_eq!(shown, service::config::keys_of(DEFAULT_TOML).unwrap());
}

#[test]
fn the_metrics_can_be_made() {
    RouterMetrics::register(&Default::default()).unwrap();
}
