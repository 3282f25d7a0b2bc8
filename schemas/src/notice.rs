//! Notices between processes, over the broker's control fanout: small JSON messages, sent with best effort. Unknown
//! kinds are ignored, so that versions may mix. A notice never holds a URL, a secret or a body.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Attempt, EventId, QuotaName, RetentionLevels,
    process_report::{EndpointFailure, EndpointRecovery, LaneCanary, ProcessReport},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// The store has reached a revision; processes with an older snapshot pull it.
    Revision { revision: u64 },
    /// Findings of a process, which it repeats until a `Noted` answers them.
    #[serde(rename = "facts")]
    Findings {
        /// Id of the process, made at its start.
        process: String,
        /// Number of the notice, rising with every notice of the process.
        sequence: u64,
        #[serde(rename = "facts")]
        findings: Vec<Finding>,
    },
    /// The findings of a notice have been stored.
    Noted { process: String, sequence: u64 },
    /// The retention of all tenants that have too many dead letters. Other tenants' dead letters are kept with their bodies.
    #[serde(rename = "dead_letter_levels")]
    DeadLetterRetention(RetentionLevels),
    /// The retention of all tenants that have too much in the log of parked messages. The name of a tenant is empty for what
    /// is no tenant's.
    #[serde(rename = "parked_levels")]
    ParkedRetention(RetentionLevels),
    /// Events a second that a router leaves to each tenant that publishes more than its share, while the router is behind.
    EventShares {
        /// Id of the router's process; its next notice replaces this one.
        process: String,
        by_tenant: BTreeMap<String, f64>,
    },
    /// The delivery of the test button was attempted. Sent once: the caller waits for it, and may press the button again.
    Tested {
        delivery_id: Uuid,
        /// The attempt. It may hold the receiver's answer, as in a dead letter, but nothing that was sent.
        attempt: Attempt,
    },
    /// A process has begun to listen; the others repeat their current state.
    Hello,
    /// A deliverer is running; sent every second.
    Deliverer {
        process: String,
        /// True when the deliverer is about to stop.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaves: bool,
        /// The latest canary that came to it by each lane.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        canaries: Vec<LaneCanary>,
        /// The newest form of packed headers that it reads ([`PACKED_VERSION`](crate::wire::PACKED_VERSION)); 0 for an earlier
        /// version, which reads none.
        #[serde(default)]
        reads_packed: u8,
    },
    /// How a process is; sent every five seconds, at its start, when another begins to listen, and at its end.
    Process(Box<ProcessReport>),
    /// The endpoints that a deliverer knows to fail: new ones within a second, and each again every ten seconds. What is not
    /// repeated is forgotten.
    Endpoints {
        process: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failing: Vec<EndpointFailure>,
        /// Said once. Other deliverers that know the endpoint to fail forget it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        recovered: Vec<EndpointRecovery>,
        /// Number of failing endpoints that the deliverer does not name, because there are too many; none in a notice that
        /// repeats nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unnamed: Option<u64>,
    },
    /// The intake is opened, or closed until no event is pending.
    Intake { open: bool },
    /// Control's latest probe has come from the public exchange into the intake, or was parked instead.
    IntakeProbed { bound: bool },
    /// Changes of endpoints' breakers in a deliverer. Sent once: a process that misses one learns from its own
    /// failures.
    Breakers { process: String, changes: Vec<BreakerChange> },
    /// Events whose waiting deliveries are dropped. Repeated until nothing of them waits.
    Erased { tenant: String, event_ids: Vec<EventId> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerChange {
    pub tenant: String,
    pub endpoint_id: String,
    /// End of the open state, in unix milliseconds; none when the breaker is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<u64>,
    /// How many times the breaker opened in a row.
    #[serde(default)]
    #[serde(rename = "spell")]
    pub consecutive_opens: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// Counts of a day since the process started; a later finding includes an earlier one.
    Usage {
        tenant: String,
        /// Id of the endpoint; none for counts of the whole tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint_id: Option<String>,
        /// Day in UTC: `2026-11-21`.
        day: String,
        counts: Counts,
    },
    /// An endpoint answered 410.
    Gone {
        tenant: String,
        endpoint_id: String,
        /// Revision of the last change of the endpoint, so that a later change is not undone; none with a `file:` store.
        version: Option<u64>,
    },
    /// All recent attempts of this process at an endpoint failed. Repeated every hour while this lasts.
    Failing {
        tenant: String,
        endpoint_id: String,
        /// Revision of the last change of the endpoint; none with a `file:` store.
        version: Option<u64>,
        /// Time of the first of these failures since the process started, in unix milliseconds.
        since: u64,
    },
    QuotaReached {
        tenant: String,
        quota: QuotaName,
        limit: f64,
        /// Time in unix milliseconds.
        at: u64,
    },
    /// Deliveries came back in as events through too many hops.
    EventLoop {
        tenant: String,
        /// Id of the source that they came in by; none for events that came with a key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_id: Option<String>,
        /// Time in unix milliseconds.
        at: u64,
    },
    #[serde(other)]
    Unknown,
}

impl Notice {
    /// Reads a notice; none for an unknown kind, as of a later version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub const KINDS: [&str; 15] = [
        "revision",
        "facts",
        "noted",
        "dead_letter_levels",
        "parked_levels",
        "event_shares",
        "tested",
        "hello",
        "deliverer",
        "process",
        "endpoints",
        "intake",
        "intake_probed",
        "breakers",
        "erased",
    ];

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Revision { .. } => "revision",
            Self::Findings { .. } => "facts",
            Self::Noted { .. } => "noted",
            Self::DeadLetterRetention(_) => "dead_letter_levels",
            Self::ParkedRetention(_) => "parked_levels",
            Self::EventShares { .. } => "event_shares",
            Self::Tested { .. } => "tested",
            Self::Hello => "hello",
            Self::Deliverer { .. } => "deliverer",
            Self::Process(_) => "process",
            Self::Endpoints { .. } => "endpoints",
            Self::Intake { .. } => "intake",
            Self::IntakeProbed { .. } => "intake_probed",
            Self::Breakers { .. } => "breakers",
            Self::Erased { .. } => "erased",
        }
    }

    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What was done for a tenant or one of its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Events accepted.
    pub events: u64,
    /// Deliveries made of events and by replays.
    pub deliveries: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Deliveries that ended with a 2xx.
    pub delivered: u64,
    /// Deliveries that ended without a 2xx.
    pub dead: u64,
    /// Bytes of the posted bodies.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.deliveries += more.deliveries;
        self.attempts += more.attempts;
        self.delivered += more.delivered;
        self.dead += more.dead;
        self.bytes += more.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeadLetterRetention, OutcomeClass, process_report::FailedAttempt};

    #[test]
    fn a_notice_survives_its_json() {
        let usage = Finding::Usage {
            tenant: "acme".into(),
            endpoint_id: Some("crm".into()),
            day: "2026-11-21".into(),
            counts: Counts { attempts: 3, ..Counts::default() },
        };
        let gone = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(7) };
        let failing = Finding::Failing { tenant: "acme".into(), endpoint_id: "crm".into(), version: None, since: 9 };
        let reached =
            Finding::QuotaReached { tenant: "acme".into(), quota: QuotaName::EventsPerSecond, limit: 2.5, at: 1 };
        let looping = Finding::EventLoop { tenant: "acme".into(), source_id: Some("main".into()), at: 1 };
        let attempt = r#"{"number":1,"at":"2026-11-21T08:00:00.000Z","outcome":"blocked_ip","status":null,"duration_ms":0,
            "response_excerpt":"the address is not allowed","next_due":null}"#;
        let attempt: Attempt = serde_json::from_str(attempt).unwrap();
        let closed =
            BreakerChange { tenant: "acme".into(), endpoint_id: "crm".into(), open_until: None, consecutive_opens: 0 };
        let canary = LaneCanary { lane: "fast".into(), took_ms: 12, at: 9 };
        let last = FailedAttempt { at: 8, outcome: OutcomeClass::ServerError, status: Some(500), excerpt: None };
        let failure = EndpointFailure {
            tenant: "acme".into(),
            endpoint_id: "crm".into(),
            version: Some(3),
            since: 7,
            failures: 2,
            last,
            last_success_at: None,
            waiting: 1,
            next_at: Some(9),
            only_operational: false,
        };
        let recovery = EndpointRecovery { tenant: "acme".into(), endpoint_id: "bi".into(), at: 9 };
        let opened = BreakerChange { open_until: Some(9), consecutive_opens: 2, ..closed.clone() };
        for notice in [
            Notice::Revision { revision: 7 },
            Notice::Findings {
                process: "p".into(),
                sequence: 1,
                findings: vec![usage, gone, failing, reached, looping],
            },
            Notice::Noted { process: "p".into(), sequence: 1 },
            Notice::DeadLetterRetention(RetentionLevels {
                by_tenant: BTreeMap::from([("acme".into(), DeadLetterRetention::Records)]),
                allowance: Some(7),
                allowances: BTreeMap::from([("zeta".into(), 5)]),
            }),
            Notice::ParkedRetention(RetentionLevels { allowance: Some(7), ..RetentionLevels::default() }),
            Notice::EventShares { process: "p".into(), by_tenant: BTreeMap::from([("acme".into(), 2.5)]) },
            Notice::Tested { delivery_id: Uuid::nil(), attempt },
            Notice::Hello,
            Notice::Deliverer { process: "p".into(), leaves: false, canaries: vec![], reads_packed: 0 },
            Notice::Deliverer { process: "p".into(), leaves: true, canaries: vec![canary], reads_packed: 2 },
            Notice::Process(Box::new(ProcessReport { process: "p".into(), pid: 7, ..ProcessReport::default() })),
            Notice::Endpoints {
                process: "p".into(),
                failing: vec![failure],
                recovered: vec![recovery],
                unnamed: Some(2),
            },
            Notice::Intake { open: false },
            Notice::IntakeProbed { bound: false },
            Notice::Breakers { process: "p".into(), changes: vec![opened, closed] },
        ] {
            assert!(Notice::KINDS.contains(&notice.kind()), "{}", notice.kind());
            assert_eq!(Notice::read(&notice.write()), Some(notice));
        }
        assert_eq!(Notice::Revision { revision: 7 }.write(), br#"{"kind":"revision","revision":7}"#);
        let retention = Notice::DeadLetterRetention(RetentionLevels::default());
        assert_eq!(retention.write(), br#"{"kind":"dead_letter_levels","levels":{}}"#);
    }

    #[test]
    fn notices_of_a_later_version_are_ignored() {
        for stranger in ["", "{}", "[]", r#"{"kind":"heartbeat","load":0.5}"#] {
            assert_eq!(Notice::read(stranger.as_bytes()), None, "{stranger}");
        }
        let later = r#"{"kind":"facts","process":"p","sequence":1,"more":1,"facts":[{"kind":"breaker","open":[1]}]}"#;
        let expected = Notice::Findings { process: "p".into(), sequence: 1, findings: vec![Finding::Unknown] };
        assert_eq!(Notice::read(later.as_bytes()), Some(expected));
    }
}
