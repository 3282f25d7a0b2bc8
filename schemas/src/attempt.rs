//! One POST and its outcome.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Class of the outcome of a POST: the label in metrics, logs and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OutcomeClass {
    /// The receiver accepted.
    #[serde(rename = "2xx")]
    Success,
    /// A redirect, which is not followed.
    #[serde(rename = "3xx")]
    Redirect,
    /// The receiver refused (404 also when an n8n flow is off).
    #[serde(rename = "4xx")]
    ClientError,
    /// The receiver is gone for good.
    #[serde(rename = "410")]
    Gone,
    /// Too many requests.
    #[serde(rename = "429")]
    TooMany,
    /// The receiver failed.
    #[serde(rename = "5xx")]
    ServerError,
    /// Connecting, the first byte or the whole answer took too long.
    #[serde(rename = "timeout")]
    Timeout,
    /// No connection could be made.
    #[serde(rename = "connect")]
    Connect,
    /// The name of the receiver has no address.
    #[serde(rename = "dns")]
    Dns,
    /// The certificate or the TLS handshake failed.
    #[serde(rename = "tls")]
    Tls,
    /// The answer is not valid HTTP, has only 1xx, or the connection was reset.
    #[serde(rename = "malformed")]
    Malformed,
    /// The address is not allowed; nothing was sent.
    #[serde(rename = "blocked_ip")]
    BlockedIp,
}

impl OutcomeClass {
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::Gone,
        Self::TooMany,
        Self::ServerError,
        Self::Timeout,
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Malformed,
        Self::BlockedIp,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::Gone => "410",
            Self::TooMany => "429",
            Self::ServerError => "5xx",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Malformed => "malformed",
            Self::BlockedIp => "blocked_ip",
        }
    }
}

impl fmt::Display for OutcomeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One POST and its outcome, as records and answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Number of the attempt, counted from 1.
    pub number: u32,
    /// Begin of the attempt, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// Class of the outcome.
    pub outcome: OutcomeClass,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// Duration until the end of the answer, in milliseconds.
    pub duration_ms: u64,
    /// First 4 KiB of the answer, or why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_excerpt: Option<String>,
    /// Time of the next attempt, RFC 3339; none when there is none.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub next_due: Option<String>,
}

impl Attempt {
    /// Writes the attempt for a header, without the excerpt, which would be too long.
    pub(crate) fn to_header(&self) -> String {
        let short = Self { response_excerpt: None, ..self.clone() };
        serde_json::to_string(&short).unwrap_or_default()
    }

    pub(crate) fn from_header(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
