//! The demo's tenants and endpoints, and the receiver's answers for each of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::receiver::{Answer, Received, Script};

const TENANTS: &str = include_str!("tenants.yaml");

pub(super) fn yaml(receiver: &str) -> String {
    TENANTS.replace("{receiver}", receiver)
}

/// The receiver's answers: `flaky` fails the first two attempts of each body, `broken` fails all.
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

/// The tenant that publishes a fixture: the one named after the vendor of the body.
pub(super) fn tenant_of(fixture: &str) -> &'static str {
    let shape = fixture.rsplit_once(".as-").map_or(fixture, |(_, shape)| shape);
    let shape = shape.strip_prefix("variant-").unwrap_or(shape);
    match shape.split('-').next() {
        Some("whaticket") => "whaticket",
        Some("boticario") => "boticario",
        _ => "whazing",
    }
}
