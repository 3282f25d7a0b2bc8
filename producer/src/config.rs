//! The `producer` section of the configuration.

use serde::{Deserialize, Serialize};
use service::SeenConfig;

/// The largest batch: 8 MiB.
pub(crate) const MAX_BATCH_BYTES: usize = 8 << 20;
/// The most events in a batch.
pub(crate) const MAX_BATCH_EVENTS: usize = 1_000;
/// No event may be configured to be larger: with what is added to it, it must fit a message of the broker.
const LARGEST_EVENT: usize = 12 << 20;
/// No message may be larger: RabbitMQ's default is 16 MiB (`max_message_size`), the rest is for headers.
const LARGEST_PUBLISHED: usize = 15 << 20;

/// How much is taken in, and how much at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerConfig {
    /// The largest event as received, in bytes.
    pub max_event_bytes: usize,
    /// Requests taken at once, at most.
    pub max_concurrent: usize,
    /// Bytes of bodies held at once, at most.
    pub max_in_flight_bytes: u32,
    /// Which confirmed ids are remembered, so that their repeats are not published.
    pub duplicates: SeenConfig,
}

impl ProducerConfig {
    /// The first key whose value will not do, and why.
    pub fn complaint(&self) -> Option<(&'static str, String)> {
        if !(1..=LARGEST_EVENT).contains(&self.max_event_bytes) {
            return Some(("producer.max_event_bytes", format!("must be from 1 to {LARGEST_EVENT}")));
        }
        if self.max_concurrent == 0 {
            return Some(("producer.max_concurrent", "must be at least 1".to_owned()));
        }
        let body = self.max_body_bytes();
        let too_few = (self.max_in_flight_bytes as usize) < body;
        too_few.then(|| ("producer.max_in_flight_bytes", format!("must hold one body, which may have {body} bytes")))
    }

    /// The largest body that is read.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.max_event_bytes.max(MAX_BATCH_BYTES)
    }

    /// The largest message: an envelope made of a vendor's body has it twice, once escaped.
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
    fn values_that_would_take_nothing_in_are_complained_about() {
        let max_in_flight_bytes = 8 << 20;
        let good =
            ProducerConfig { max_event_bytes: 1 << 20, max_concurrent: 1, max_in_flight_bytes, duplicates: NONE };
        assert_eq!(good.complaint(), None);
        for (config, key) in [
            (ProducerConfig { max_event_bytes: 0, ..good.clone() }, "producer.max_event_bytes"),
            (ProducerConfig { max_event_bytes: (12 << 20) + 1, ..good.clone() }, "producer.max_event_bytes"),
            (ProducerConfig { max_concurrent: 0, ..good.clone() }, "producer.max_concurrent"),
            (ProducerConfig { max_event_bytes: 9 << 20, ..good.clone() }, "producer.max_in_flight_bytes"),
        ] {
            assert_eq!(config.complaint().map(|(key, _)| key), Some(key));
        }
    }

    #[test]
    fn what_is_published_may_be_three_times_the_event_up_to_15_mib() {
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
