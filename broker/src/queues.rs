//! Where messages wait, in the pipeline's own words: queues, lanes and logs, and the targets that messages are published
//! to. What these are called on a broker is the backend's business.

use schemas::{Headers, wire::TENANT};

/// What can be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Events, as producers published them.
    Ingest,
    Lane(Lane),
}

impl Queue {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Lane(Lane::Fast), Self::Lane(Lane::Slow)];

    /// The queue's name in files and topologies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Lane(lane) => lane.name(),
        }
    }

    /// How often one message is handed out again; given back once more, it is parked. The limit stops a message that
    /// kills its consumer, and lies far above what restarts and shutdowns cost an innocent one (`x-delivery-limit` on
    /// RabbitMQ).
    pub fn delivery_limit(self) -> u32 {
        match self {
            Self::Ingest => 50,
            Self::Lane(_) => 100,
        }
    }

    /// The parked log's key for a message of this queue that is over the delivery limit: `delivery_limit.<tenant>`. The
    /// embedded brokers write it; on RabbitMQ the queue's dead-letter exchange leads to the same log. Such a message
    /// carries no record: readers of the log derive the reason.
    pub(crate) fn parked_key(self, key: &str, headers: &Headers) -> String {
        let by_key = match self {
            Self::Ingest => key.split('.').next().filter(|tenant| !tenant.is_empty()),
            Self::Lane(_) => None,
        };
        format!("delivery_limit.{}", headers.text(TENANT).or(by_key).unwrap_or("-"))
    }
}

/// The two lanes of deliveries: first attempts must not wait behind retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// First attempts.
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
