//! Who takes part: tenants with their endpoints, and how each of those answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::receiver::{Answer, Received, Script};

const CONF: &str = include_str!("conf.yaml");

/// The demo's tenants as YAML, their endpoints at `receiver`.
pub(super) fn conf(receiver: &str) -> String {
    CONF.replace("{receiver}", receiver)
}

/// How the demo's receiver answers: `flaky` fails the first two attempts of each body, `broken` always does.
pub(super) fn script() -> Script {
    let failures = Mutex::new(HashMap::<String, u32>::new());
    Arc::new(move |received: &Received| match received.path.as_str() {
        "/whazing/flaky" => {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(received.header("webhook-id").to_owned()).or_default();
            *count += 1;
            Answer::status(if *count > 2 { 200 } else { 503 })
        }
        "/whazing/broken" => Answer::status(500),
        _ => Answer::status(200),
    })
}

/// Whose a fixture is: the vendor in whose shape it is.
pub(super) fn tenant_of(fixture: &str) -> &'static str {
    let shape = fixture.rsplit_once(".as-").map_or(fixture, |(_, shape)| shape);
    let shape = shape.strip_prefix("variant-").unwrap_or(shape);
    match shape.split('-').next() {
        Some("whaticket") => "whaticket",
        Some("boticario") => "boticario",
        _ => "whazing",
    }
}
