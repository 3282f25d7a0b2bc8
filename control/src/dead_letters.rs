//! Finds dead letters in the log, from which nothing is ever deleted.
//!
//! A delivery has at most one live dead letter: the latest record of a delivery replaces earlier ones, and a replay's
//! marker ends those before it. The first pass over the log keeps an id and an offset of each, never a body. The second
//! pass reads the records themselves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use broker::{
    Log, Logs, ReadError, Record,
    records::{ReplayMarker, read_dead_letter, read_dead_letter_with_body},
};
use futures_util::{
    StreamExt as _, TryStreamExt as _, future,
    stream::{self, BoxStream},
};
use schemars::JsonSchema;
use schemas::{
    DeadLetter, DeadReason, EventType,
    time::{rfc3339, unix_ms},
};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use uuid::Uuid;

/// Which dead letters are meant: all that every given field allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct DeadLetterFilter {
    /// Their ids.
    // An empty list selects none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "ids")]
    #[schemars(with = "Option<Vec<String>>")]
    pub ids: Option<BTreeSet<u64>>,
    /// Where they were to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// Why they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// The event's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub event_type: Option<EventType>,
    /// Ended then (RFC 3339) or later.
    // In unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    #[schemars(with = "Option<String>")]
    pub since: Option<u64>,
    /// Ended earlier than that (RFC 3339).
    // In unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    #[schemars(with = "Option<String>")]
    pub until: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    #[error("unknown; there are ids, endpoint_id, reason, event_type, since and until")]
    Unknown,
    #[error("expected {0}")]
    Expected(String),
}

impl DeadLetterFilter {
    /// Sets a field by its name. For `ids`, adds one id.
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

    /// True when the filter selects the dead letter at `offset` of the log.
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

/// Live dead letters: the offset of each in the log, and the endpoint that it was for.
#[derive(Clone, Debug, Default)]
pub struct LiveDeadLetters(Arc<BTreeMap<u64, Arc<str>>>);

/// Finds the dead letters that a filter selects, of one tenant or of all. Reads the log once, up to its present end.
pub async fn find(
    logs: &dyn Logs,
    tenant: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<LiveDeadLetters, ReadError> {
    let mut live = HashMap::<Uuid, (u64, Arc<str>)>::new();
    let mut endpoints = BTreeSet::<Arc<str>>::new();
    let mut records = logs.read(Log::Dead, 0);
    while let Some(record) = records.try_next().await? {
        if ReplayMarker::is_marker(&record) {
            let ended =
                |marker: &ReplayMarker| live.get(&marker.delivery_id).is_some_and(|(at, _)| *at <= marker.offset);
            if let Some(marker) = ReplayMarker::read(&record).filter(ended) {
                live.remove(&marker.delivery_id);
            }
        } else if let Some(letter) = read_dead_letter(&record) {
            // A later record of the same delivery replaces an earlier one, also when the filter does not select it.
            if tenant.is_none_or(|tenant| tenant == letter.tenant) && filter.accepts(record.offset, &letter) {
                // All dead letters of an endpoint share one copy of its id.
                let endpoint = endpoints.get(letter.endpoint_id.as_str()).cloned().unwrap_or_else(|| {
                    let endpoint = Arc::<str>::from(letter.endpoint_id);
                    endpoints.insert(endpoint.clone());
                    endpoint
                });
                live.insert(letter.delivery_id, (record.offset, endpoint));
            } else {
                live.remove(&letter.delivery_id);
            }
        }
    }
    Ok(LiveDeadLetters(Arc::new(live.into_values().collect())))
}

/// Streams the dead letters that a filter selects with their bodies, in the order in which they ended.
///
/// # Errors
/// The log cannot be read to its end. The stream may yield that error as well.
pub async fn list(
    logs: &dyn Logs,
    tenant: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<BoxStream<'static, Result<DeadLetter, ReadError>>, ReadError> {
    let records = find(logs, tenant, filter).await?.records(logs, 0);
    Ok(records.try_filter_map(|record| future::ok(read_dead_letter_with_body(&record))).boxed())
}

/// Returns the dead letter of this id with its body, whether or not it is alive: of one tenant, or of any.
pub async fn show(logs: &dyn Logs, tenant: Option<&str>, id: &str) -> Result<Option<DeadLetter>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Dead, offset).try_next().await?;
    let record = record.filter(|record| record.offset == offset && !ReplayMarker::is_marker(record));
    let letter = record.as_ref().and_then(read_dead_letter_with_body);
    Ok(letter.filter(|letter| tenant.is_none_or(|tenant| tenant == letter.tenant)))
}

impl LiveDeadLetters {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The endpoints that they were for.
    pub(crate) fn endpoints(&self) -> BTreeSet<&str> {
        self.0.values().map(|endpoint| &**endpoint).collect()
    }

    /// Only those that were for an endpoint which `is_wanted` accepts.
    pub(crate) fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(_, endpoint)| is_wanted(endpoint));
        Self(Arc::new(wanted.map(|(offset, endpoint)| (*offset, endpoint.clone())).collect()))
    }

    /// Streams the records in order, from `offset` on. Reads the log from the first record to the last.
    pub(crate) fn records(&self, logs: &dyn Logs, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let (Some((&first, _)), Some((&last, _))) = (self.0.range(offset..).next(), self.0.last_key_value()) else {
            return stream::empty().boxed();
        };
        let live = self.0.clone();
        let upto_last = logs.read(Log::Dead, first).try_take_while(move |record| future::ok(record.offset <= last));
        upto_last.try_filter(move |record| future::ready(live.contains_key(&record.offset))).boxed()
    }
}
