//! Finds dead letters in the log, from which nothing is ever deleted.
//!
//! A delivery has at most one live dead letter: the latest record of a delivery replaces earlier ones, and a replay's
//! marker ends those before it. The first pass over the log keeps an id and an offset of each, never a body. The second
//! pass reads the records themselves.

use std::{collections::BTreeSet, iter, ops::RangeInclusive, sync::Arc};

use broker::{
    Log, Logs, ReadError, Record,
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
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use store::is_older;

use crate::{dead_letter_index::GAP, live_records::LiveRecords};

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
    // Revision that created the tenant: dead letters of a former tenant of its id are not there for it. With 0, those of
    // all tenants are.
    #[serde(skip)]
    pub tenant_since: u64,
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

/// Live dead letters in the order of the log: the offset of each, and the endpoint that it was for.
#[derive(Clone, Debug)]
pub struct LiveDeadLetters(Arc<[(u64, Arc<str>)]>);

/// A search for the live dead letters that a filter selects, of one tenant or of all. It can go on later from the offset
/// that it has reached.
#[derive(Debug)]
pub(crate) struct Search {
    tenant: Option<String>,
    filter: DeadLetterFilter,
    live: LiveRecords<Arc<str>>,
    /// All dead letters of an endpoint share one copy of its id.
    endpoints: BTreeSet<Arc<str>>,
    next: u64,
}

impl Search {
    pub(crate) fn new(tenant: Option<&str>, filter: &DeadLetterFilter) -> Self {
        // Whether a dead letter is alive is decided by what comes after it.
        let next = filter.ids.as_ref().map_or(0, |ids| ids.first().copied().unwrap_or(u64::MAX));
        let (live, endpoints) = (LiveRecords::default(), BTreeSet::new());
        Self { tenant: tenant.map(str::to_owned), filter: filter.clone(), live, endpoints, next }
    }

    /// Offset of the first record that was not read yet.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Number of dead letters that were found so far.
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Reads the records from [`next`](Self::next) on. One that is dropped or fails on the way has kept what it has read.
    pub(crate) async fn read(
        &mut self,
        mut records: BoxStream<'_, Result<Record, ReadError>>,
    ) -> Result<(), ReadError> {
        while let Some(record) = records.try_next().await? {
            self.note(&record);
            self.next = record.offset + 1;
        }
        Ok(())
    }

    fn note(&mut self, record: &Record) {
        let Self { tenant, filter, live, endpoints, .. } = self;
        live.note(record, filter.tenant_since, |record| {
            let letter = read_dead_letter(record)?;
            // A later record of the same delivery replaces an earlier one, also when the filter does not select it.
            let is_of_tenant = tenant.as_ref().is_none_or(|tenant| *tenant == letter.tenant);
            let is_wanted = is_of_tenant && filter.accepts(record.offset, &letter);
            let endpoint = is_wanted.then(|| shared(endpoints, letter.endpoint_id));
            Some((letter.delivery_id, endpoint))
        });
    }

    pub(crate) fn found(&self) -> LiveDeadLetters {
        let mut live: Vec<_> = self.live.iter().cloned().collect();
        live.sort_unstable_by_key(|(offset, _)| *offset);
        LiveDeadLetters(live.into())
    }
}

/// The copy of an endpoint's id that all share.
fn shared(endpoints: &mut BTreeSet<Arc<str>>, id: String) -> Arc<str> {
    if let Some(known) = endpoints.get(id.as_str()) {
        return known.clone();
    }
    let endpoint = Arc::<str>::from(id);
    endpoints.insert(endpoint.clone());
    endpoint
}

/// Finds the dead letters that a filter selects, of one tenant or of all. Reads the log once, up to its present end.
pub async fn find(
    logs: &dyn Logs,
    tenant: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<LiveDeadLetters, ReadError> {
    let mut search = Search::new(tenant, filter);
    search.read(logs.read(Log::Dead, search.next())).await?;
    Ok(search.found())
}

/// Streams the records within ranges of offsets, which are read one after the other.
pub(crate) fn read_ranges<'a>(
    logs: &'a dyn Logs,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Send + 'a,
) -> BoxStream<'a, Result<Record, ReadError>> {
    let read = move |range: RangeInclusive<u64>| {
        logs.read(Log::Dead, *range.start()).try_take_while(move |record| future::ok(record.offset <= *range.end()))
    };
    stream::iter(ranges).map(read).flatten().boxed()
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
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The endpoints that they were for.
    pub(crate) fn endpoints(&self) -> BTreeSet<&str> {
        self.0.iter().map(|(_, endpoint)| &**endpoint).collect()
    }

    /// Only those that were for an endpoint which `is_wanted` accepts.
    pub(crate) fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(_, endpoint)| is_wanted(endpoint)).cloned().collect())
    }

    /// Streams the records in order, from `offset` on. Of the log, it reads the parts that have some of them.
    pub(crate) fn records<'a>(&self, logs: &'a dyn Logs, offset: u64) -> BoxStream<'a, Result<Record, ReadError>> {
        let (live, wanted) = (self.0.clone(), self.0.clone());
        let mut at = live.partition_point(|(live, _)| *live < offset);
        let ranges = iter::from_fn(move || {
            let rest = &live[at..];
            let near = rest.windows(2).take_while(|two| two[1].0 - two[0].0 <= GAP).count();
            let range = rest.first()?.0..=rest[near].0;
            at += near + 1;
            Some(range)
        });
        let is_wanted = move |record: &Record| wanted.binary_search_by_key(&record.offset, |live| live.0).is_ok();
        read_ranges(logs, ranges).try_filter(move |record| future::ready(is_wanted(record))).boxed()
    }
}
