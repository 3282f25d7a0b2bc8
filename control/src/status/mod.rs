//! How an installation is: what answers show, and the verdict about it.

mod verdict;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemas::{EndpointHealth, HealthState, LastError, process_report::PartReport, time::Moment};
use serde::Serialize;

use crate::endpoint_health::{FailingHealth, Health};

pub(crate) use verdict::{of_installation, of_tenant};

/// How the installation is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// True without problems.
    pub(crate) well: bool,
    /// What is not well, the worst first.
    pub(crate) problems: Vec<StatusMessage>,
    /// What may deserve a look, although the installation is well.
    pub(crate) notices: Vec<StatusMessage>,
    /// Time of this answer.
    pub(crate) at: Moment,
    /// Seconds for which this process has listened to the others; null while the broker is away, when nobody can be heard.
    pub(crate) listening_seconds: Option<u64>,
    /// The processes that were heard of within ten minutes.
    pub(crate) processes: Vec<ProcessStatus>,
    /// The broker, as this process sees it.
    pub(crate) broker: BrokerStatus,
    /// The store, as this process sees it.
    pub(crate) store: StoreStatus,
    /// What waits in the queues; null if it could not be counted.
    pub(crate) queues: Option<Vec<QueueStatus>>,
    /// The endpoints that fail.
    pub(crate) endpoints: FailingEndpoints,
    /// Deliveries that ended as dead letters; null before they were counted.
    pub(crate) dead_letters: Option<Records>,
    /// Messages that were parked; null before they were counted.
    pub(crate) parked: Option<Records>,
    /// Quotas of which 80 % are used, or more.
    pub(crate) quotas: Vec<QuotaStatus>,
}

/// How a tenant is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct TenantStatus {
    /// True without problems.
    pub(crate) well: bool,
    /// What is not well.
    pub(crate) problems: Vec<StatusMessage>,
    /// What may deserve a look.
    pub(crate) notices: Vec<StatusMessage>,
    /// Time of this answer.
    pub(crate) at: Moment,
    /// The endpoints that fail.
    pub(crate) endpoints: FailingEndpoints,
    /// Deliveries that ended as dead letters; null before they were counted.
    pub(crate) dead_letters: Option<Records>,
    /// Quotas of which 80 % are used, or more.
    pub(crate) quotas: Vec<QuotaStatus>,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StatusMessage {
    /// What it is, for machines.
    #[schemars(with = "String")]
    pub(crate) code: &'static str,
    /// What is the case, in one sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// One process.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct ProcessStatus {
    /// Id of the process, made at its start.
    pub(crate) id: String,
    /// Its roles.
    pub(crate) roles: Vec<String>,
    /// Its version; empty for one that is too old to tell.
    pub(crate) version: String,
    /// Name of its machine or container.
    pub(crate) host: String,
    /// Its number on that machine.
    pub(crate) pid: u32,
    /// Time of its start; null for one that is too old to tell.
    pub(crate) started_at: Option<Moment>,
    /// Seconds since it was last heard of.
    pub(crate) silent_seconds: u64,
    /// True when it has missed three reports.
    pub(crate) lost: bool,
    /// Revision of the configuration that it works with; 0 with a `file:` store.
    pub(crate) revision: u64,
    /// Changes of the configuration that it does not have yet.
    pub(crate) revisions_behind: u64,
    /// Seconds since the store told it that it has the newest; null if it never did.
    pub(crate) synced_seconds_ago: Option<u64>,
    /// What keeps it from being ready.
    pub(crate) missing: Vec<Part>,
    /// What it cannot do although it is ready.
    pub(crate) degraded: Vec<Part>,
}

/// A part of a process, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProcessPart")]
pub(crate) struct Part {
    /// The part.
    pub(crate) part: String,
    /// What is wrong.
    pub(crate) detail: String,
}

impl From<PartReport> for Part {
    fn from(PartReport { part, detail }: PartReport) -> Self {
        Self { part, detail }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "BrokerState")]
pub(crate) enum BrokerState {
    Ready,
    Blocked,
    Away,
}

/// The broker.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct BrokerStatus {
    /// `ready`, `blocked` while it takes no messages, or `away`.
    pub(crate) state: BrokerState,
    /// Why it is not ready.
    pub(crate) detail: Option<String>,
    /// Bytes in use in the embedded broker's file; null with RabbitMQ.
    pub(crate) used_bytes: Option<u64>,
    /// Bytes that it can still write; null with RabbitMQ.
    pub(crate) free_bytes: Option<u64>,
    /// `broker.max_bytes`; null without such a limit.
    pub(crate) max_bytes: Option<u64>,
}

/// The store.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct StoreStatus {
    /// Revision of the snapshot in force; 0 with a `file:` store.
    pub(crate) revision: u64,
    /// Seconds since the store told that this is the newest; null if it never did.
    pub(crate) synced_seconds_ago: Option<u64>,
}

/// What waits in one queue.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct QueueStatus {
    /// `ingest`, `ingest.slow`, `deliver.fast`, `deliver.slow`, or `delays`: deliveries that wait for their time.
    pub(crate) queue: String,
    /// True if the queue is there.
    pub(crate) exists: bool,
    /// Messages that wait, without those in hand.
    pub(crate) waiting: u64,
    /// Consumers; null where none is needed, and on the embedded broker.
    pub(crate) consumers: Option<u32>,
    /// Seconds for which the oldest message has waited, or for which the latest canary has; null where nobody can know.
    pub(crate) oldest_seconds: Option<f64>,
    /// Seconds since the canary came that tells `oldest_seconds`; null if the broker tells it.
    pub(crate) canary_seconds_ago: Option<u64>,
}

/// Endpoints that fail, and how many are paused.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct FailingEndpoints {
    /// How many are known to fail.
    pub(crate) failing: u64,
    /// Of how many tenants.
    pub(crate) tenants: u64,
    /// How many are paused: they get nothing, so that nothing fails.
    pub(crate) paused: u64,
    /// How many more there are that deliverers do not name.
    pub(crate) unnamed: u64,
    /// At most `limit`: the longest failing first, but every tenant's first before any tenant's second.
    pub(crate) items: Vec<FailingEndpoint>,
}

/// An endpoint that fails.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct FailingEndpoint {
    /// Id of the tenant.
    pub(crate) tenant: String,
    /// Id of the endpoint.
    pub(crate) endpoint_id: String,
    /// How it fails.
    pub(crate) health: EndpointHealth,
}

impl From<Health> for EndpointHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::default(),
            Health::Healthy { last_success_at } => {
                Self { state: HealthState::Healthy, last_success_at: Some(Moment(last_success_at)), ..Self::default() }
            }
            Health::Failing(FailingHealth { since, failures, last, last_success_at, waiting, next_at }) => Self {
                state: HealthState::Failing,
                since: Some(Moment(since)),
                last_success_at: last_success_at.map(Moment),
                consecutive_failures: Some(failures),
                last_error: Some(LastError {
                    at: Moment(last.at),
                    outcome: last.outcome,
                    status: last.status,
                    excerpt: last.excerpt,
                }),
                waiting: Some(waiting),
                next_attempt_at: next_at.map(Moment),
            },
        }
    }
}

/// Records of a log by reason.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Records {
    /// Since midnight (UTC).
    pub(crate) today: BTreeMap<&'static str, u64>,
    /// In the last 24 hours.
    pub(crate) last_24_hours: BTreeMap<&'static str, u64>,
}

/// A quota that is nearly used up.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct QuotaStatus {
    /// Id of the tenant.
    pub(crate) tenant: String,
    /// Name of the quota.
    pub(crate) quota: String,
    /// What is used of it.
    pub(crate) used: f64,
    /// What may be used.
    pub(crate) limit: f64,
}
