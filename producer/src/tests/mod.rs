//! The producer on the memory broker, as a library and over HTTP.

mod batches;
mod duplicates;
mod events;
mod fixture;
mod library;
mod limits;
mod loops;
mod quotas;
mod shares;
mod warnings;
mod webhooks;

use serde::{Deserialize, Serialize};
use service::Loader;

use crate::{DEFAULT_TOML, ProducerConfig, ProducerMetrics};

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Sections {
    producer: ProducerConfig,
}

#[test]
fn the_defaults_fill_the_section_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    assert_eq!(loaded.config.producer.validate(), Ok(()));
    assert_eq!(loaded.config.producer.max_event_bytes, 1 << 20);
    assert_eq!(service::config::uncommented(DEFAULT_TOML), Vec::<String>::new());
    let shown = service::config::keys_of(&loaded.show().unwrap()).unwrap();
    assert_eq!(shown, service::config::keys_of(DEFAULT_TOML).unwrap());
    let known = serde_json::to_value(&loaded.config.producer).unwrap();
    let (known, nested) = (known.as_object().unwrap(), known["duplicates"].as_object().unwrap());
    let count = known.len() - 1 + nested.len();
    assert_eq!(count, shown.len(), "a key without a default would be refused as unknown");
}

#[test]
fn the_metrics_can_be_made() {
    ProducerMetrics::register(&Default::default()).unwrap();
}
