//! The `history` section of the configuration.

use std::time::Duration;

use schemars::JsonSchema;
use schemas::Span;
use serde::{Deserialize, Serialize};

/// Smallest `history.max_bytes`: some days of little traffic.
const SMALLEST: u64 = 100_000_000;
/// Shortest time that anything is kept: days are dropped whole.
const SHORTEST: Span = Span(Duration::from_secs(24 * 60 * 60));

/// Where history is kept, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryConfig {
    /// Empty: beside the store. `postgres://…`: a database. `off`: nothing is recorded.
    pub url: String,
    /// Time that events, deliveries and attempts are kept.
    pub keep: Span,
    /// Time that bodies are kept.
    pub keep_bodies: Span,
    /// Bytes that are kept at most.
    pub max_bytes: u64,
}

impl HistoryConfig {
    pub fn is_on(&self) -> bool {
        self.url != "off"
    }

    /// The URL of a database of its own.
    pub fn database(&self) -> Option<&str> {
        let is_database = ["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme));
        is_database.then_some(&*self.url)
    }

    /// The first key that cannot be used, and why.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if !matches!(&*self.url, "" | "off") && self.database().is_none() {
            // A URL may hold a password, and is not repeated.
            return Err(("history.url", "expected postgres://user:password@host/database, off, or nothing".to_owned()));
        }
        for (key, time) in [("history.keep", self.keep), ("history.keep_bodies", self.keep_bodies)] {
            if time < SHORTEST {
                return Err((key, format!("expected at least {SHORTEST}")));
            }
        }
        if self.keep_bodies > self.keep {
            return Err(("history.keep_bodies", "expected at most history.keep".to_owned()));
        }
        match self.max_bytes < SMALLEST {
            true => Err(("history.max_bytes", format!("expected at least {SMALLEST}"))),
            false => Ok(()),
        }
    }
}
