//! Where messages wait, in the pipeline's own terms. What these are called on a real broker is its topology's business.

/// What can be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Events, as producers published them.
    Ingest,
    /// Deliveries.
    Lane(Lane),
}

impl Queue {
    /// Its name in files and topologies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Lane(lane) => lane.name(),
        }
    }

    /// How often one message is handed out again; given back once more it is parked. It stops what kills its consumer,
    /// and lies far above what restarts and shutdowns cost an innocent one (`x-delivery-limit` on RabbitMQ).
    pub fn delivery_limit(self) -> u32 {
        match self {
            Self::Ingest => 50,
            Self::Lane(_) => 100,
        }
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
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    /// Its name in metrics, logs and routing keys.
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
    /// Deliveries that ended without a 2xx.
    Dead,
    /// What we could not process ourselves.
    Parked,
}

impl Log {
    /// Its name in files and topologies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Parked => "park",
        }
    }
}

/// Where a message is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The public entrance, with the routing key `<tenant>.<channel>.<queue>.<entity>.<action>`.
    Ingest {
        /// At most 255 bytes (AMQP 0-9-1, short string).
        key: String,
    },
    /// A lane: now, or not before a due time.
    Lane(Lane, Option<Due>),
    /// The end of a log, with the key `<reason>.<tenant>`.
    Log(Log, String),
}

/// Not before when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Unix milliseconds.
    pub at: u64,
    /// True where someone asked for the wait (`Retry-After`): then it may not end early at all. Otherwise a broker may
    /// end it early by at most 5 % of the wait, which saves hops on a ladder of fixed delays.
    pub exact: bool,
}
