//! Queues, lanes and logs, and the targets of publishes, in the pipeline's own words. Their names on a broker are the
//! backend's business.

use schemas::{HeaderValue, Headers, ParkReason, wire::TENANT};

use crate::rabbitmq::LAST_DEATH;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    Ingest,
    /// Events with a large fan-out that a router has put aside, so that events of other tenants need not wait for it.
    IngestSlow,
    Lane(Lane),
}

impl Queue {
    pub const ALL: [Self; 4] = [Self::Ingest, Self::IngestSlow, Self::Lane(Lane::Fast), Self::Lane(Lane::Slow)];

    /// The queue's name in files and topologies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::IngestSlow => "ingest_slow",
            Self::Lane(lane) => lane.name(),
        }
    }

    /// True for a queue whose messages have waited already or wait on purpose. Others are taken first.
    pub(crate) fn gives_way(self) -> bool {
        matches!(self, Self::IngestSlow | Self::Lane(Lane::Slow))
    }

    /// Number of times that one message is handed out again; given back once more, it is parked. The limit stops a
    /// message that kills its consumer, and lies far above what restarts cost an innocent one (`x-delivery-limit` on
    /// RabbitMQ).
    pub fn delivery_limit(self) -> u32 {
        match self {
            Self::Ingest | Self::IngestSlow => 50,
            Self::Lane(_) => 100,
        }
    }

    /// Marks a message that is over the delivery limit, and returns its key in the parked log, as RabbitMQ does: an event
    /// keeps its routing key, with which it can be routed again, and a delivery gets `delivery_limit.<tenant>`. Such a
    /// message carries no record: readers derive the reason.
    pub(crate) fn park_over_limit(self, key: String, headers: &mut Headers) -> String {
        headers.set(LAST_DEATH, HeaderValue::Text(ParkReason::DeliveryLimit.as_str().into()));
        match self {
            Self::Ingest | Self::IngestSlow => key,
            Self::Lane(_) => format!("{}.{}", ParkReason::DeliveryLimit, headers.text(TENANT).unwrap_or("-")),
        }
    }
}

/// There are two lanes of deliveries because first attempts must not wait behind retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Fast,
    /// Retries and replays.
    Slow,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    /// The lane's name in metrics, logs and routing keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

/// The append-only logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Log {
    /// Deliveries that ended without a 2xx answer.
    Dead,
    /// Messages that we could not process ourselves.
    Parked,
}

impl Log {
    /// The log's name in files and topologies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Parked => "park",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The public entrance for events.
    Ingest {
        /// The routing key `<tenant>.<channel>.<queue>.<entity>.<action>`: at most 255 bytes (AMQP 0-9-1, short string).
        key: String,
    },
    /// The queue of events that were put aside. Only routers publish to it, with the key that the event came with.
    IngestSlow { key: String },
    /// A lane: now, or not before a due time.
    Lane(Lane, Option<Due>),
    /// The end of a log, with the key `<reason>.<tenant>`.
    Log(Log, String),
}

/// The time before which a message is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Unix milliseconds.
    pub at: u64,
    /// True where somebody asked for the wait (`Retry-After`): it may not end early at all. Otherwise a broker may end it
    /// early by at most 5 % of the wait, which saves hops on a ladder of fixed delays.
    pub exact: bool,
}

impl Due {
    /// Lengths, in ms and from short to long, of waits that take one hop on a ladder of fixed delays. Others take
    /// several.
    pub const ONE_HOP_MS: [u64; 14] = [
        1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000,
        21_600_000, 43_200_000,
    ];
}
