//! What processes tell each other over the broker's control fanout: JSON, small, best effort, unknown kinds ignored, so
//! that versions may mix. No URL, secret or body is ever in one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Attempt, Counts};

/// A word from one process to all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// The store is at this revision: pull, if you are not.
    Revision {
        /// The one that all processes share.
        revision: u64,
    },
    /// What a process found out. Said again until it is noted.
    #[serde(rename = "facts")]
    Findings {
        /// An id made at the process's start.
        process: String,
        /// Rises with every notice of the process.
        sequence: u64,
        /// In no order.
        #[serde(rename = "facts")]
        findings: Vec<Finding>,
    },
    /// These facts are kept: they need not be said again.
    Noted {
        /// Whose facts.
        process: String,
        /// Which of them.
        sequence: u64,
    },
    /// What is kept of dead letters from now on, of the tenants that have too many; of all others, everything is.
    DeadLetterLevels {
        /// By tenant.
        levels: BTreeMap<String, DeadLetterRetention>,
    },
    /// The test button's delivery was attempted. It is said once: who asked waits for it, and may ask again.
    Tested {
        /// Which.
        delivery_id: Uuid,
        /// How it went. The receiver's answer may be in it, as in a dead letter, and nothing that was sent.
        attempt: Attempt,
    },
    /// A process has begun to listen: what it should know, say again.
    Hello,
    /// A deliverer is there; said every second.
    Deliverer {
        /// An id made at the process's start.
        process: String,
        /// It is about to be no more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaves: bool,
    },
    /// Events are let into the broker, or not any more: somebody waits until nothing is on its way.
    Intake {
        /// Whether they are.
        open: bool,
    },
    /// What became of endpoints' breakers in a deliverer. Said once: whoever misses it finds out by failures of its own.
    Breakers {
        /// An id made at the process's start.
        process: String,
        /// In order.
        changes: Vec<BreakerChange>,
    },
}

/// An endpoint's breaker has opened or closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerChange {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub endpoint_id: String,
    /// Until when it is open, unix ms; none: it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<u64>,
    /// How often it was opened in a row.
    #[serde(default)]
    #[serde(rename = "spell")]
    pub consecutive_opens: u32,
}

/// One thing that a process found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// What the process did on a day: since it started, so that a later one includes an earlier one.
    Usage {
        /// For whom.
        tenant: String,
        /// For which endpoint; none for what is not one endpoint's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint_id: Option<String>,
        /// In UTC: `2026-11-21`.
        day: String,
        /// How much.
        counts: Counts,
    },
    /// An endpoint answered 410.
    Gone {
        /// Whose.
        tenant: String,
        /// Which.
        endpoint_id: String,
        /// The revision at which it had last been changed, so that a later change is not undone; none of a `file:` store.
        version: Option<u64>,
    },
    /// An endpoint has only failed for a while, as far as the process knows. Said again every hour that it is so.
    Failing {
        /// Whose.
        tenant: String,
        /// Which.
        endpoint_id: String,
        /// The revision at which it had last been changed; none of a `file:` store.
        version: Option<u64>,
        /// Unix ms: when the first of these failures was, since the process began.
        since: u64,
    },
    /// A tenant wanted more than a quota allows.
    QuotaReached {
        /// Whose.
        tenant: String,
        /// Which.
        quota: QuotaName,
        /// What it allows.
        limit: f64,
        /// Unix ms.
        at: u64,
    },
    /// Something that a later version knows.
    #[serde(other)]
    Unknown,
}

/// What is kept of a tenant's dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterRetention {
    /// Everything.
    #[default]
    Bodies,
    /// Records without bodies: as many as its quota allows are there.
    Records,
    /// Nothing; they are only counted: ten times as many are there.
    Counts,
}

/// A quota by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    /// Events taken in.
    EventsPerSecond,
    /// Endpoints.
    Endpoints,
    /// Subscriptions.
    Subscriptions,
    /// Sources.
    Sources,
    /// Keys.
    Keys,
    /// Dead letters kept with their bodies.
    DeadLetters,
}

impl QuotaName {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events_per_second",
            Self::Endpoints => "endpoints",
            Self::Subscriptions => "subscriptions",
            Self::Sources => "sources",
            Self::Keys => "keys",
            Self::DeadLetters => "dead_letters",
        }
    }
}

impl Notice {
    /// Reads one; none when it is of a later version's kind, or somebody else's.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What they are called.
    pub const KINDS: [&str; 9] =
        ["revision", "facts", "noted", "dead_letter_levels", "tested", "hello", "deliverer", "intake", "breakers"];

    /// What it is called, for metrics: one of [`Notice::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Revision { .. } => "revision",
            Self::Findings { .. } => "facts",
            Self::Noted { .. } => "noted",
            Self::DeadLetterLevels { .. } => "dead_letter_levels",
            Self::Tested { .. } => "tested",
            Self::Hello => "hello",
            Self::Deliverer { .. } => "deliverer",
            Self::Intake { .. } => "intake",
            Self::Breakers { .. } => "breakers",
        }
    }

    /// As it is announced.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl DeadLetterRetention {
    /// Of a tenant with so many dead letters that have their bodies, and so many in all; without a quota everything is
    /// kept.
    pub fn of(with_bodies: u64, in_all: u64, quota: Option<u64>) -> Self {
        match quota {
            Some(quota) if in_all >= quota.saturating_mul(10) => Self::Counts,
            Some(quota) if with_bodies >= quota => Self::Records,
            _ => Self::Bodies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_back_as_they_were_said() {
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
        let attempt = r#"{"number":1,"at":"2026-11-21T08:00:00.000Z","outcome":"blocked_ip","status":null,"duration_ms":0,
            "response_excerpt":"the address is not allowed","next_due":null}"#;
        let attempt: Attempt = serde_json::from_str(attempt).unwrap();
        let closed =
            BreakerChange { tenant: "acme".into(), endpoint_id: "crm".into(), open_until: None, consecutive_opens: 0 };
        let opened = BreakerChange { open_until: Some(9), consecutive_opens: 2, ..closed.clone() };
        for notice in [
            Notice::Revision { revision: 7 },
            Notice::Findings { process: "p".into(), sequence: 1, findings: vec![usage, gone, failing, reached] },
            Notice::Noted { process: "p".into(), sequence: 1 },
            Notice::DeadLetterLevels { levels: BTreeMap::from([("acme".into(), DeadLetterRetention::Records)]) },
            Notice::Tested { delivery_id: Uuid::nil(), attempt },
            Notice::Hello,
            Notice::Deliverer { process: "p".into(), leaves: false },
            Notice::Deliverer { process: "p".into(), leaves: true },
            Notice::Intake { open: false },
            Notice::Breakers { process: "p".into(), changes: vec![opened, closed] },
        ] {
            assert!(Notice::KINDS.contains(&notice.kind()), "{}", notice.kind());
            assert_eq!(Notice::read(&notice.write()), Some(notice));
        }
        assert_eq!(Notice::Revision { revision: 7 }.write(), br#"{"kind":"revision","revision":7}"#);
    }

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        for stranger in ["", "{}", "[]", r#"{"kind":"heartbeat","load":0.5}"#] {
            assert_eq!(Notice::read(stranger.as_bytes()), None, "{stranger}");
        }
        let later = r#"{"kind":"facts","process":"p","sequence":1,"more":1,"facts":[{"kind":"breaker","open":[1]}]}"#;
        let expected = Notice::Findings { process: "p".into(), sequence: 1, findings: vec![Finding::Unknown] };
        assert_eq!(Notice::read(later.as_bytes()), Some(expected));
    }

    #[test]
    fn bodies_are_kept_up_to_the_quota_and_records_up_to_ten_times_that() {
        use DeadLetterRetention::{Bodies, Counts, Records};
        let table = [(99, 99, Bodies), (100, 100, Records), (100, 999, Records), (99, 999, Bodies), (0, 1_000, Counts)];
        for (with_bodies, in_all, level) in table {
            assert_eq!(DeadLetterRetention::of(with_bodies, in_all, Some(100)), level, "{with_bodies} of {in_all}");
            assert_eq!(DeadLetterRetention::of(with_bodies, in_all, None), Bodies);
        }
        assert_eq!(DeadLetterRetention::of(0, 0, Some(0)), Counts, "none may be kept");
    }
}
