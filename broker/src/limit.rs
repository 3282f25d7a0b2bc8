//! What becomes of a message that was given back too often: it goes to the parked log. The embedded brokers do it by
//! themselves; on RabbitMQ it is `x-delivery-limit` with a dead-letter exchange.

use schemas::{Headers, wire::TENANT};

use crate::Queue;

/// The parked log's key for a message from `at` that is over its delivery limit: `delivery_limit.<tenant>`. It carries
/// no record: readers of the log derive the reason, as they must on RabbitMQ.
pub(crate) fn parked_key(at: Queue, key: &str, headers: &Headers) -> String {
    let by_key = match at {
        Queue::Ingest => key.split('.').next().filter(|tenant| !tenant.is_empty()),
        Queue::Lane(_) => None,
    };
    format!("delivery_limit.{}", headers.text(TENANT).or(by_key).unwrap_or("-"))
}
