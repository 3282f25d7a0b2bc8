//! One POST and how it went.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a POST went, as a class: the label in metrics, logs and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OutcomeClass {
    /// Accepted.
    #[serde(rename = "2xx")]
    Success,
    /// Not followed.
    #[serde(rename = "3xx")]
    Redirect,
    /// Refused (also 404: an n8n flow that is off).
    #[serde(rename = "4xx")]
    ClientError,
    /// Gone for good.
    #[serde(rename = "410")]
    Gone,
    /// Too many requests.
    #[serde(rename = "429")]
    TooMany,
    /// The receiver failed.
    #[serde(rename = "5xx")]
    ServerError,
    /// Connecting, the first byte or the whole took too long.
    #[serde(rename = "timeout")]
    Timeout,
    /// No connection.
    #[serde(rename = "connect")]
    Connect,
    /// The name has no address.
    #[serde(rename = "dns")]
    Dns,
    /// The certificate or handshake failed.
    #[serde(rename = "tls")]
    Tls,
    /// No valid HTTP: garbage, 1xx only, reset.
    #[serde(rename = "malformed")]
    Malformed,
    /// The address is not allowed; nothing was sent.
    #[serde(rename = "blocked_ip")]
    BlockedIp,
}

impl OutcomeClass {
    /// All of them.
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

    /// Its name.
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

/// One POST and how it went, as records and answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// 1-based.
    pub number: u32,
    /// RFC 3339: when it began.
    pub at: String,
    /// How it went.
    pub outcome: OutcomeClass,
    /// The answer's status, when there was one.
    pub status: Option<u16>,
    /// Milliseconds until the answer's end.
    pub duration_ms: u64,
    /// The answer's beginning, at most 4 KiB, or why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_excerpt: Option<String>,
    /// RFC 3339: when it is tried again.
    #[serde(default)]
    pub next_due: Option<String>,
}

impl Attempt {
    /// As a header: without the excerpt, which would not fit.
    pub(crate) fn to_header(&self) -> String {
        let short = Self { response_excerpt: None, ..self.clone() };
        serde_json::to_string(&short).unwrap_or_default()
    }

    pub(crate) fn from_header(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
