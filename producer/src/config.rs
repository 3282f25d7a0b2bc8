//! The `producer` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::SeenConfig;

/// Largest batch, in bytes.
pub(crate) const MAX_BATCH_BYTES: usize = 8 << 20;
/// Largest number of events in a batch.
pub(crate) const MAX_BATCH_EVENTS: usize = 1_000;
/// Largest value of `max_event_bytes`. An event must fit into a message of the broker, with the fields added to it.
const LARGEST_EVENT: usize = 12 << 20;
/// Largest message that any producer publishes, in bytes, whatever its configuration. RabbitMQ's default
/// `max_message_size` is 16 MiB; the rest is for headers.
pub const LARGEST_PUBLISHED: usize = 15 << 20;

/// How much is taken in, and how much at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProducerConfig {
    /// Largest event as received, in bytes.
    pub max_event_bytes: usize,
    /// Largest number of requests that are handled at once.
    pub max_concurrent: usize,
    /// Largest sum of the bodies that are held at once, in bytes.
    pub max_in_flight_bytes: u32,
    /// Which confirmed ids are remembered, so that their repeats are not published.
    pub duplicates: SeenConfig,
}

impl ProducerConfig {
    /// Returns the first key whose value cannot be used, and the reason.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if !(1..=LARGEST_EVENT).contains(&self.max_event_bytes) {
            return Err(("producer.max_event_bytes", format!("must be from 1 to {LARGEST_EVENT}")));
        }
        if self.max_concurrent == 0 {
            return Err(("producer.max_concurrent", "must be at least 1".to_owned()));
        }
        let body = self.max_body_bytes();
        if (self.max_in_flight_bytes as usize) < body {
            let reason = format!("must be at least {body}: one body may have that many bytes");
            return Err(("producer.max_in_flight_bytes", reason));
        }
        Ok(())
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.max_event_bytes.max(MAX_BATCH_BYTES)
    }

    /// Largest message, in bytes. The envelope of a vendor's body holds that body twice, once escaped.
    pub fn max_published_bytes(&self) -> usize {
        (3 * self.max_event_bytes + (64 << 10)).min(LARGEST_PUBLISHED)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: SeenConfig = SeenConfig { ids: 0, window: Duration::ZERO };

    #[test]
    fn a_value_that_would_take_nothing_in_is_refused() {
        let max_in_flight_bytes = 8 << 20;
        let good =
            ProducerConfig { max_event_bytes: 1 << 20, max_concurrent: 1, max_in_flight_bytes, duplicates: NONE };
        assert_eq!(good.validate(), Ok(()));
        for (config, key) in [
            (ProducerConfig { max_event_bytes: 0, ..good.clone() }, "producer.max_event_bytes"),
            (ProducerConfig { max_event_bytes: (12 << 20) + 1, ..good.clone() }, "producer.max_event_bytes"),
            (ProducerConfig { max_concurrent: 0, ..good.clone() }, "producer.max_concurrent"),
            (ProducerConfig { max_event_bytes: 9 << 20, ..good.clone() }, "producer.max_in_flight_bytes"),
        ] {
            assert_eq!(config.validate().map_err(|(key, _)| key), Err(key));
        }
    }

    #[test]
    fn a_message_may_have_three_times_the_bytes_of_an_event_up_to_15_mib() {
        let of = |max_event_bytes| ProducerConfig {
            max_event_bytes,
            max_concurrent: 1,
            max_in_flight_bytes: 0,
            duplicates: NONE,
        };
        assert_eq!(of(1 << 20).max_published_bytes(), (3 << 20) + 65_536);
        assert_eq!(of(12 << 20).max_published_bytes(), 15 << 20);
    }
}
