//! Dead letters: which of them are alive and selected, and what ends them.
//!
//! A delivery has at most one live dead letter: the latest record of a delivery replaces earlier ones, and the marker of a
//! replay or a discard ends those before it.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use broker::{
    Deadline, Log, Logs, ReadError, Record, publish_until_confirmed,
    records::{ReplayMarker, read_dead_letter, read_dead_letter_with_body, revision},
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
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeSeq as _};
use serde_json::{Map, Value};
use store::is_older;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{
    Control, NotStarted, WINDOW,
    log_index::LogIndex,
    log_search::{LogEntry, LogFilter, Origin, RecordKey, Search, Searched, read_offsets},
    log_turns::REQUEST_TIME,
};

/// Most ids of one filter. A replay keeps its filter for as long as it is kept.
pub(crate) const MAX_IDS: usize = 1_000;

/// Which dead letters are meant: all that every given field allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Their ids.
    // An empty list selects none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "ids")]
    #[schemars(
        with = "Option<Vec<String>>",
        extend("items" = {"type": "string", "pattern": schemas::pattern::POSITION}, "maxItems" = MAX_IDS)
    )]
    pub ids: Option<BTreeSet<u64>>,
    /// Where they were to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// Why they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// The event's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EventType>")]
    pub event_type: Option<EventType>,
    /// Ended then (RFC 3339) or later.
    // In unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    #[schemars(with = "Option<String>", regex(pattern = schemas::time::SINCE_1970), extend("format" = "date-time"))]
    pub since: Option<u64>,
    /// Ended earlier than that (RFC 3339).
    // In unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    #[schemars(with = "Option<String>", regex(pattern = schemas::time::SINCE_1970), extend("format" = "date-time"))]
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

/// Reads what was serialized before.
impl<'de> Deserialize<'de> for DeadLetterFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut filter = Self::default();
        for (name, value) in Map::<String, Value>::deserialize(deserializer)? {
            let texts = match &value {
                Value::Array(ids) => {
                    filter.ids.get_or_insert_default();
                    ids.as_slice()
                }
                one => std::slice::from_ref(one),
            };
            for text in texts {
                filter.set(&name, text.as_str().unwrap_or_default()).map_err(D::Error::custom)?;
            }
        }
        Ok(filter)
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

/// A filter of one tenant's dead letters, or of all tenants'.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeadLetterSearch {
    tenant: Option<String>,
    /// Revision that created the tenant: dead letters of a former tenant of its id are not there for it. With 0, they are.
    since: u64,
    filter: DeadLetterFilter,
}

impl DeadLetterSearch {
    pub(crate) fn new(tenant: Option<&str>, since: u64, filter: &DeadLetterFilter) -> Self {
        Self { tenant: tenant.map(str::to_owned), since, filter: filter.clone() }
    }
}

impl LogFilter for DeadLetterSearch {
    const LOG: Log = Log::Dead;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn floor(&self) -> u64 {
        self.filter.ids.as_ref().map_or(0, |ids| ids.first().copied().unwrap_or(u64::MAX))
    }

    fn read(&self, record: &Record) -> LogEntry {
        if ReplayMarker::is_marker(record) {
            let end = |marker: ReplayMarker| LogEntry::End(RecordKey::Delivery(marker.delivery_id), marker.offset);
            return ReplayMarker::read(record).map_or(LogEntry::Nothing, end);
        }
        // An event of a former tenant of this id may have the id of an event of this one.
        let letter = read_dead_letter(record).filter(|_| !is_older(revision(record), self.since));
        let Some(letter) = letter else { return LogEntry::Nothing };
        let is_of_tenant = self.tenant.as_ref().is_none_or(|tenant| *tenant == letter.tenant);
        let is_wanted = is_of_tenant && self.filter.accepts(record.offset, &letter);
        let origin = Origin { tenant: letter.tenant, endpoint_id: letter.endpoint_id, reason: letter.reason.as_str() };
        LogEntry::Record(RecordKey::Delivery(letter.delivery_id), is_wanted.then_some(origin))
    }
}

/// Live dead letters in the order of the log: the offset of each, and what it came from.
#[derive(Clone, Debug)]
pub struct LiveDeadLetters(Arc<[(u64, Arc<Origin>)]>);

/// Finds the dead letters that a filter selects, of one tenant or of all. Reads the log once, up to its present end.
pub async fn find(
    logs: &dyn Logs,
    tenant: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<LiveDeadLetters, ReadError> {
    let mut search = Search::new(DeadLetterSearch::new(tenant, 0, filter));
    search.read(logs, &LogIndex::default(), |_| false).await?;
    Ok(LiveDeadLetters::of(&search))
}

/// Streams the dead letters that a filter selects with their bodies, in the order in which they ended.
///
/// # Errors
/// The log cannot be read to its end. The stream may yield that error as well.
pub async fn list<'a>(
    logs: &'a dyn Logs,
    tenant: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<BoxStream<'a, Result<DeadLetter, ReadError>>, ReadError> {
    let records = find(logs, tenant, filter).await?.records(logs, 0);
    Ok(records.try_filter_map(|record| future::ok(read_dead_letter_with_body(&record))).boxed())
}

/// Returns the dead letter of this id with its body, whether or not it is alive: of one tenant, or of any. The tenant was
/// created at the revision `tenant_since`; with 0, dead letters of former tenants of its id are returned as well.
pub async fn show(
    logs: &dyn Logs,
    tenant: Option<&str>,
    tenant_since: u64,
    id: &str,
) -> Result<Option<DeadLetter>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Dead, offset).try_next().await?;
    let record = record.filter(|record| record.offset == offset && !ReplayMarker::is_marker(record));
    let record = record.filter(|record| !is_older(revision(record), tenant_since));
    let letter = record.as_ref().and_then(read_dead_letter_with_body);
    Ok(letter.filter(|letter| tenant.is_none_or(|tenant| tenant == letter.tenant)))
}

impl LiveDeadLetters {
    pub(crate) fn of<F: LogFilter>(search: &Search<F>) -> Self {
        Self(search.live().iter().map(|(offset, origin)| (*offset, origin.clone())).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only those at these offsets.
    pub(crate) fn within(&self, offsets: Range<u64>) -> Self {
        Self(self.0.iter().filter(|(offset, _)| offsets.contains(offset)).cloned().collect())
    }

    /// The offset of each, in order, and the endpoint that it was for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.0.iter().map(|(offset, origin)| (*offset, &*origin.endpoint_id))
    }

    /// The endpoints that they were for.
    pub(crate) fn endpoints(&self) -> BTreeSet<&str> {
        self.0.iter().map(|(_, origin)| &*origin.endpoint_id).collect()
    }

    /// Only those that were for an endpoint which `is_wanted` accepts.
    pub(crate) fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(_, origin)| is_wanted(&origin.endpoint_id)).cloned().collect())
    }

    /// Streams the records in order, from `offset` on. Of the log, it reads the parts that have some of them.
    pub(crate) fn records<'a>(&self, logs: &'a dyn Logs, offset: u64) -> BoxStream<'a, Result<Record, ReadError>> {
        let from = self.0.partition_point(|(live, _)| *live < offset);
        read_offsets(logs, Log::Dead, self.0[from..].iter().map(|(offset, _)| *offset).collect())
    }
}

/// How many dead letters a discard has found, and how many of them it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Discarded {
    /// So many matched.
    pub(crate) matched: u64,
    /// So many are discarded. Fewer than matched where the time was over: ask again for the rest. 0 with `dry_run`.
    pub(crate) discarded: u64,
}

impl Control {
    /// Searches the dead letters of a tenant, or of all, until `is_enough` or everything was read. Of the tenant, only those
    /// since its creation are found.
    pub(crate) async fn search_dead_letters(
        &self,
        tenant: Option<&str>,
        filter: &DeadLetterFilter,
        until: Instant,
        is_enough: impl Fn(&Search<DeadLetterSearch>) -> bool,
    ) -> Result<(Searched<DeadLetterSearch>, bool), NotStarted> {
        let since = tenant.map_or(0, |tenant| self.created(tenant));
        let whose = (tenant.unwrap_or_default(), &self.recent_searches, &self.dead_letter_index);
        self.search_log(whose, DeadLetterSearch::new(tenant, since, filter), until, is_enough).await
    }

    /// Searches all dead letters of a tenant that a filter selects.
    pub(crate) async fn find_dead_letters(
        &self,
        tenant: &str,
        filter: &DeadLetterFilter,
        until: Instant,
    ) -> Result<Searched<DeadLetterSearch>, NotStarted> {
        match self.search_dead_letters(Some(tenant), filter, until, |_| false).await? {
            (searched, true) => Ok(searched),
            (_, false) => Err(NotStarted::TooSlow),
        }
    }

    /// Counts the dead letters of a tenant that a filter selects.
    pub async fn count(&self, tenant: &str, filter: &DeadLetterFilter) -> Result<u64, NotStarted> {
        let searched = self.find_dead_letters(tenant, filter, Instant::now() + REQUEST_TIME).await?;
        Ok(searched.live().len() as u64)
    }

    /// Ends the dead letters of a tenant that a filter selects without a replay. What cannot be ended within the time of a
    /// request stays, and the next one goes on with it.
    pub(crate) async fn discard(&self, tenant: &str, filter: &DeadLetterFilter) -> Result<Discarded, NotStarted> {
        let until = Instant::now() + REQUEST_TIME;
        let searched = self.find_dead_letters(tenant, filter, until).await?;
        let letters: Vec<_> = searched.deliveries().map(|(offset, delivery, _)| (offset, delivery)).collect();
        let (matched, mut discarded) = (letters.len() as u64, 0);
        let ends = stream::iter(letters).map(|(offset, delivery)| self.discard_one(tenant, delivery, offset));
        let mut ends = std::pin::pin!(ends.buffer_unordered(WINDOW));
        while let Ok(Some(is_ended)) = timeout_at(until, ends.next()).await {
            discarded += u64::from(is_ended);
        }
        Ok(Discarded { matched, discarded })
    }

    async fn discard_one(&self, tenant: &str, delivery: Uuid, offset: u64) -> bool {
        let (to, marker) = ReplayMarker::of_discarded(tenant, delivery, offset, (self.deps.clock)());
        let deadline = Deadline { stop: self.deps.stop.clone(), limit: Some(REQUEST_TIME) };
        publish_until_confirmed(&*self.deps.broker, &to, &marker, deadline).await.is_ok()
    }
}
