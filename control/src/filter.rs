//! Which dead letters are meant. The same names everywhere: keys in JSON, query parameters, flags.

use std::collections::BTreeSet;

use schemas::{
    DeadLetter, DeadReason, EventType,
    time::{rfc3339, unix_ms},
};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

/// Which dead letters are meant: all that every given field allows; the default means all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Filter {
    /// Their ids. Given and empty: none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "ids")]
    pub ids: Option<BTreeSet<u64>>,
    /// Where they were to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// Why they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// The event's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// Ended then (unix ms) or later.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub since: Option<u64>,
    /// Ended earlier than that (unix ms).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub until: Option<u64>,
}

/// Why a text was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// There is no such field.
    #[error("unknown; there are ids, endpoint_id, reason, event_type, since and until")]
    Unknown,
    /// It does not fit the field.
    #[error("expected {0}")]
    Expected(String),
}

impl Filter {
    /// Takes a field by its name; of `ids` one more.
    ///
    /// # Errors
    /// When there is no such field, or the text does not fit it.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), InvalidFilter> {
        let expected = |what: &str| InvalidFilter::Expected(what.to_owned());
        let time = || unix_ms(text).ok_or_else(|| expected("an RFC 3339 time, such as 2026-01-31T08:00:00Z"));
        match name {
            "ids" => {
                let id = text.parse().map_err(|_| expected("the id of a dead letter, a whole number as text"))?;
                self.ids.get_or_insert_default().insert(id);
            }
            "endpoint_id" => self.endpoint_id = Some(text.to_owned()),
            "reason" => self.reason = Some(DeadReason::parse(text).ok_or_else(|| expected(&reasons()))?),
            "event_type" => {
                let event_type = EventType::try_from(text.to_owned());
                self.event_type = Some(event_type.map_err(|_| expected("an event type, such as ticket.created"))?);
            }
            "since" => self.since = Some(time()?),
            "until" => self.until = Some(time()?),
            _ => return Err(InvalidFilter::Unknown),
        }
        Ok(())
    }

    /// Whether a dead letter at `offset` of the log is meant.
    pub fn accepts(&self, offset: u64, letter: &DeadLetter) -> bool {
        let dead_at = || unix_ms(&letter.dead_at);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&offset))
            && self.endpoint_id.as_ref().is_none_or(|endpoint| *endpoint == letter.endpoint_id)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.event_type.as_ref().is_none_or(|event_type| event_type.as_str() == letter.event_type)
            && self.since.is_none_or(|since| dead_at().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| dead_at().is_some_and(|at| at < until))
    }
}

fn reasons() -> String {
    let names: Vec<_> = DeadReason::ALL.iter().map(|reason| reason.as_str()).collect();
    format!("one of {}", names.join(", "))
}

fn time<S: Serializer>(time: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time.unwrap_or_default()))
}

fn ids<S: Serializer>(ids: &Option<BTreeSet<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    ids.iter().flatten().try_for_each(|id| list.serialize_element(&id.to_string()))?;
    list.end()
}
