//! Publishes the events of a request concurrently, and returns when all of them are confirmed.

use std::{borrow::Cow, sync::Arc, time::Duration};

use broker::{Broker, PublishError, PublishWindow};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use schemars::JsonSchema;
use schemas::{EventId, Refusal, Strictness, SubmittedEvent, Warning};
use serde::Serialize;
use service::{Chance, Claim, ClaimedKey, Clock, IdempotencyKeys, metrics::IntCounter, seen};
use store::{Snapshot, SourceRef, Store};
use tokio::time::{Instant, timeout};

use crate::{
    EventOrigin, ProducerConfig, ProducerMetrics,
    prepare::{IntakeContext, Prepared},
};

/// Number of a request's events that are sent at once.
const EVENTS_AT_ONCE: usize = 64;
/// Longest wait of each further one for an earlier one's confirm. However far away the broker is, a batch is sent within two
/// seconds.
const LONGEST_TURN: Duration = Duration::from_millis(1);
/// Longest wait for a confirm: half of a common proxy timeout. After it, the sender must retry.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that are prepared before other tasks may run: about a millisecond of work.
const YIELD_AFTER_BYTES: usize = 256 << 10;
/// Number of ids in a log line, which keeps the lines readable: a batch of a thousand events has fifty lines.
const IDS_PER_LINE: usize = 20;
const CANONICAL: &str = "canonical";

pub struct Producer {
    broker: Arc<dyn Broker>,
    window: PublishWindow,
    /// Where events get their revision from. A publisher without a store sets none.
    store: Option<Arc<dyn Store>>,
    metrics: ProducerMetrics,
    /// Counter of the canonical events, looked up once.
    received: IntCounter,
    clock: Clock,
    chance: Chance,
    max_event: usize,
    max_published: usize,
    ids: IdempotencyKeys,
}

/// A canonical event of a request.
pub(crate) struct Submitted {
    /// JSON pointer to the event: empty, or `/events/3` in a batch.
    pub(crate) pointer: String,
    pub(crate) text: Bytes,
    /// The event in the text, if the text was read already.
    pub(crate) read: Option<Result<SubmittedEvent, Refusal>>,
}

/// An event that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Taken")]
pub struct AcceptedEvent {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EventId,
    /// True when the same event was taken in before, so that it was not published again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// What is probably a mistake in it. Places are those in the request: in a batch below `/events/3`.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// Some events are invalid; nothing was published.
    #[error("{} of {of} events are not valid", refusals.len())]
    Invalid {
        /// Invalid values and their places; in a batch below `/events/3`.
        refusals: Vec<Refusal>,
        of: usize,
    },
    /// Some events have warnings, which a strict request refuses; nothing was published.
    #[error("{} warnings", warnings.len())]
    Warned {
        /// In a batch below `/events/3`.
        warnings: Vec<Warning>,
    },
    /// Other events have the ids of some events; nothing was published.
    #[error("{} of {of} events have the id of another event, which was accepted or is about to be", pointers.len())]
    IdTaken {
        /// JSON pointers to the ids; in a batch below `/events/3`, and empty for a vendor's body.
        pointers: Vec<String>,
        of: usize,
    },
    /// An event is too large; nothing was published.
    #[error("an event has {bytes} bytes, and may have {most}")]
    TooLarge {
        /// JSON pointer to the event: empty, or `/events/3` in a batch.
        pointer: String,
        bytes: usize,
        most: usize,
    },
    /// Some events were not confirmed. The confirmed ones are accepted; the others may be.
    #[error("{confirmed} of {of} events were confirmed: {error}")]
    Unconfirmed {
        confirmed: usize,
        of: usize,
        /// Error of the first event that was not confirmed.
        error: PublishError,
    },
}

impl Producer {
    pub fn new(
        config: &ProducerConfig,
        broker: Arc<dyn Broker>,
        store: Option<Arc<dyn Store>>,
        metrics: ProducerMetrics,
        (clock, chance): (Clock, Chance),
    ) -> Arc<Self> {
        let (max_event, max_published) = (config.max_event_bytes, config.max_published_bytes());
        let ids = IdempotencyKeys::new(config.duplicates);
        let window = PublishWindow::new(PublishWindow::LARGEST);
        let received = metrics.received.with_label_values(&[CANONICAL]);
        Arc::new(Self { broker, window, store, metrics, received, clock, chance, max_event, max_published, ids })
    }

    /// Publishes a canonical event of a tenant byte for byte. Returns its id once it is confirmed.
    pub async fn publish(
        &self,
        tenant: &str,
        event: Bytes,
        origin: &EventOrigin,
        strictness: Strictness,
    ) -> Result<AcceptedEvent, NotAccepted> {
        let event = Submitted { pointer: String::new(), text: event, read: None };
        single(self.publish_all(tenant, [event], origin, strictness).await?)
    }

    /// Publishes canonical events. If one is invalid or has the id of another event, none is published. Returns their ids
    /// in order once all are confirmed.
    pub(crate) async fn publish_all(
        &self,
        tenant: &str,
        events: impl IntoIterator<Item = Submitted>,
        origin: &EventOrigin,
        strictness: Strictness,
    ) -> Result<Vec<AcceptedEvent>, NotAccepted> {
        let prepared = self.prepare(tenant, events, origin, strictness).await?;
        self.confirm(CANONICAL, &self.received, tenant, prepared).await
    }

    /// Publishes the event in a vendor's body. Returns its id once it is confirmed.
    pub async fn publish_vendor(
        &self,
        from: &SourceRef,
        body: &[u8],
        origin: &EventOrigin,
        strictness: Strictness,
    ) -> Result<AcceptedEvent, NotAccepted> {
        self.check_size(String::new(), body.len(), self.max_event)?;
        let tenant = &from.tenant.id;
        let prepared = Prepared::vendor(from, body, &self.context(tenant, origin, self.snapshot().as_deref()));
        let prepared = prepared.map_err(|refusal| NotAccepted::Invalid { refusals: vec![refusal], of: 1 })?;
        self.check_size(String::new(), prepared.message.body.len(), self.max_published)?;
        if strictness.refuses(&prepared.warnings) {
            return Err(NotAccepted::Warned { warnings: prepared.warnings });
        }
        let Some(claimed) = self.claim(tenant, from.tenant.created(), prepared) else {
            return Err(NotAccepted::IdTaken { pointers: vec![String::new()], of: 1 });
        };
        let dialect = from.source.dialect.as_str();
        let received = self.metrics.received.with_label_values(&[dialect]);
        single(self.confirm(dialect, &received, tenant, vec![claimed]).await?)
    }

    async fn prepare(
        &self,
        tenant: &str,
        events: impl IntoIterator<Item = Submitted>,
        origin: &EventOrigin,
        strictness: Strictness,
    ) -> Result<Vec<Claimed<'_>>, NotAccepted> {
        let (mut prepared, mut refusals, mut pointers, mut of, mut since_yield) = (vec![], vec![], vec![], 0, 0);
        let mut refused_warnings = vec![];
        let snapshot = self.snapshot();
        let created = snapshot.as_deref().and_then(|snapshot| Some(snapshot.tenant(tenant)?.created()));
        let (created, context) = (created.unwrap_or_default(), self.context(tenant, origin, snapshot.as_deref()));
        for Submitted { pointer, text, read } in events {
            of += 1;
            since_yield += text.len();
            if since_yield > YIELD_AFTER_BYTES {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
            let pointer = self.check_size(pointer, text.len(), self.max_event)?;
            let read = read.unwrap_or_else(|| SubmittedEvent::from_bytes(&text));
            match read.and_then(|submitted| Prepared::canonical(text, submitted, &context)) {
                Ok(event) => {
                    let event = event.within(&pointer);
                    if strictness.refuses(&event.warnings) {
                        refused_warnings.extend(event.warnings);
                        continue;
                    }
                    match self.claim(tenant, created, event) {
                        Some(claimed) => prepared.push(claimed),
                        None => pointers.push(pointer + "/id"),
                    }
                }
                Err(refusal) => refusals.push(refusal.within(&pointer)),
            }
        }
        match (refusals.is_empty(), pointers.is_empty()) {
            (true, true) if refused_warnings.is_empty() => Ok(prepared),
            (true, true) => Err(NotAccepted::Warned { warnings: refused_warnings }),
            (true, false) => Err(NotAccepted::IdTaken { pointers, of }),
            (false, _) => Err(NotAccepted::Invalid { refusals, of }),
        }
    }

    /// Claims an event's id for a tenant that was created at this revision. None when another event has it.
    fn claim(&self, tenant: &str, created: u64, event: Prepared) -> Option<Claimed<'_>> {
        let key = seen::id_of(tenant, created, event.id.as_str());
        match self.ids.claim(key, &event.message.body, Instant::now()) {
            Claim::New(id) => Some(Claimed { event, id: Some(id) }),
            Claim::Repeat => Some(Claimed { event, id: None }),
            Claim::Conflict => None,
        }
    }

    /// Publishes events and waits for all of their confirms. What `source` is called in the log, `received` counts.
    async fn confirm(
        &self,
        source: &str,
        received: &IntCounter,
        tenant: &str,
        events: Vec<Claimed<'_>>,
    ) -> Result<Vec<AcceptedEvent>, NotAccepted> {
        let begun = Instant::now();
        let of = events.len();
        let results = match <[_; 1]>::try_from(events) {
            Ok([event]) => vec![self.publish_once(tenant, event).await],
            // In place it would make the task of each single event several times as large.
            Err(events) => Box::pin(self.publish_in_turns(tenant, events)).await,
        };
        let confirmed = results.iter().filter(|result| result.is_ok()).count();
        let repeats = results.iter().flatten().filter(|accepted| accepted.repeated).count();
        received.inc_by((confirmed - repeats) as u64);
        if repeats > 0 {
            self.metrics.deduplicated.with_label_values(&["intake"]).inc_by(repeats as u64);
        }
        let accepted = results.into_iter().collect::<Result<Vec<_>, _>>();
        let accepted = accepted.map_err(|error| NotAccepted::Unconfirmed { confirmed, of, error })?;
        let duration_ms = begun.elapsed().as_millis() as u64;
        for line in accepted.chunks(IDS_PER_LINE) {
            let (event_ids, count) = (ids(line), line.len());
            let repeats = line.iter().filter(|accepted| accepted.repeated).count();
            tracing::info!(tenant, source, count, repeats, event_ids = &*event_ids, duration_ms, "events.accepted");
        }
        Ok(accepted)
    }

    /// Sends some events before it waits for the first confirm, and a further one for each confirm or after a moment: a
    /// batch that was sent at once would stand as a whole in front of the others' events.
    async fn publish_in_turns(
        &self,
        tenant: &str,
        events: Vec<Claimed<'_>>,
    ) -> Vec<Result<AcceptedEvent, PublishError>> {
        let (mut publishes, mut results) = (FuturesOrdered::new(), Vec::with_capacity(events.len()));
        for event in events {
            if publishes.len() >= EVENTS_AT_ONCE
                && let Ok(Some(result)) = timeout(LONGEST_TURN, publishes.next()).await
            {
                results.push(result);
            }
            publishes.push_back(self.publish_once(tenant, event));
        }
        while let Some(result) = publishes.next().await {
            results.push(result);
        }
        results
    }

    /// Publishes an event unless it is durable already. Its id is noted after the confirm, because the sender repeats an
    /// unconfirmed event, which must then be published.
    async fn publish_once(
        &self,
        tenant: &str,
        Claimed { event, id }: Claimed<'_>,
    ) -> Result<AcceptedEvent, PublishError> {
        let repeated = id.is_none();
        if let Some(id) = id {
            self.publish_one(tenant, &event).await?;
            id.note(Instant::now());
        }
        Ok(AcceptedEvent { id: event.id, repeated, warnings: event.warnings })
    }

    async fn publish_one(&self, tenant: &str, event: &Prepared) -> Result<(), PublishError> {
        let publish = async {
            let _permit = self.window.enter(tenant, event.message.body.len()).await;
            self.broker.publish(&event.to, &event.message).await
        };
        let result = timeout(CONFIRM_TIMEOUT, publish).await;
        let late = || PublishError::Lost(format!("none within {} s", CONFIRM_TIMEOUT.as_secs()));
        result.unwrap_or_else(|_| Err(late()))
    }

    /// The decisions about events that arrive now. The revision of `snapshot` tells a router that its own is older.
    fn context<'a>(
        &'a self,
        tenant: &'a str,
        origin: &'a EventOrigin,
        snapshot: Option<&Snapshot>,
    ) -> IntakeContext<'a> {
        let revision = snapshot.filter(|snapshot| snapshot.has_shared_revisions()).map(Snapshot::revision);
        IntakeContext { tenant, now: self.now(), revision, chance: &self.chance, origin }
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.store.as_ref()?.snapshot()
    }

    /// Time in unix milliseconds.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    fn check_size(&self, pointer: String, bytes: usize, most: usize) -> Result<String, NotAccepted> {
        if bytes > most { Err(NotAccepted::TooLarge { pointer, bytes, most }) } else { Ok(pointer) }
    }
}

struct Claimed<'a> {
    event: Prepared,
    /// The event's id, claimed until it is noted. None when the same event was accepted before.
    id: Option<ClaimedKey<'a>>,
}

/// The ids of some events, as a log line has them.
fn ids(accepted: &[AcceptedEvent]) -> Cow<'_, str> {
    match accepted {
        [one] => Cow::Borrowed(one.id.as_str()),
        several => Cow::Owned(several.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(",")),
    }
}

fn single(accepted: Vec<AcceptedEvent>) -> Result<AcceptedEvent, NotAccepted> {
    let none = || NotAccepted::Unconfirmed { confirmed: 0, of: 1, error: PublishError::Nacked };
    accepted.into_iter().next().ok_or_else(none)
}
