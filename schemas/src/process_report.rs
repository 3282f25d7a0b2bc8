//! What processes tell of themselves and of endpoints, for people. It travels in notices, and nothing depends on it.

use serde::{Deserialize, Serialize};

use crate::OutcomeClass;

/// How a process is. It names no tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessReport {
    /// Id of the process, made at its start.
    pub process: String,
    /// Its roles, such as `router`.
    pub roles: Vec<String>,
    pub version: String,
    /// Name of its machine or container.
    pub host: String,
    pub pid: u32,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Revision of its snapshot; 0 without a snapshot, and with a `file:` store.
    pub revision: u64,
    /// Milliseconds since the store was last known to have nothing newer; none if it never was since the start.
    pub synced_ms_ago: Option<u64>,
    /// What keeps it from being ready, as `/readyz` says.
    pub missing: Vec<PartReport>,
    /// What it cannot do although it is ready, as `/readyz` says.
    pub degraded: Vec<PartReport>,
    /// How full the embedded broker is; none with another broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageReport>,
    /// True when the process is about to end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

/// A part of a process, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    pub part: String,
    pub detail: String,
}

/// The room of the embedded broker's file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageReport {
    pub used: u64,
    pub free: u64,
    /// `broker.max_bytes`; none without such a limit.
    pub max: Option<u64>,
}

/// The latest canary that came through a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCanary {
    /// `fast` or `slow`.
    pub lane: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// Time of its arrival, in unix milliseconds.
    pub at: u64,
}

/// An endpoint whose latest attempts in a process failed. Times are in unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFailure {
    pub tenant: String,
    pub endpoint_id: String,
    /// Revision of the last change of the endpoint; none with a `file:` store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Time of the first failure after the last success.
    pub since: u64,
    /// Number of failures since then.
    pub failures: u32,
    /// The last of them.
    pub last: FailedAttempt,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<u64>,
    /// Deliveries that this process deferred or will retry.
    #[serde(default)]
    pub waiting: u64,
    /// Time of the next attempt, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<u64>,
    /// True when only deliveries of carteiro's own events have failed, of which tenants are not told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_operational: bool,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Begin of the attempt, in unix milliseconds.
    pub at: u64,
    pub outcome: OutcomeClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the answer, with secrets masked, or why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// An endpoint that answered 2xx after it had failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecovery {
    pub tenant: String,
    pub endpoint_id: String,
    /// Time of the success, in unix milliseconds.
    pub at: u64,
}
