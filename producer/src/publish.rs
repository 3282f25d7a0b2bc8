//! Publishing, confirmed: many at once, and an answer only when all of them are.

use std::{sync::Arc, time::Duration};

use broker::{Broker, PublishError};
use bytes::Bytes;
use futures_util::future::join_all;
use schemas::{EventId, Refusal};
use service::{Chance, Clock, Seen, chance, seen};
use store::SourceRef;
use tokio::time::{Instant, timeout};

use crate::{
    ProducerConfig, ProducerMetrics, Trace,
    prepare::{Arrival, Prepared},
};

/// How long a confirm is waited for; the longest a proxy in front usually waits is twice that. Whoever published it then
/// does so again.
const CONFIRM: Duration = Duration::from_secs(15);
/// How many bytes are prepared before other requests have their turn: about a millisecond's work.
const TURN: usize = 256 << 10;
/// How many ids a log line names: a batch of a thousand is fifty lines of a readable length, and every id can be found.
const NAMED: usize = 20;
/// What canonical events count as.
const CANONICAL: &str = "canonical";

/// Takes events in.
pub struct Producer {
    broker: Arc<dyn Broker>,
    metrics: ProducerMetrics,
    clock: Clock,
    chance: Chance,
    max_event: usize,
    max_published: usize,
    seen: Seen,
}

/// Why events were not, or not all, accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// Some are no events; nothing was published.
    #[error("{} of {of} events are not valid", refusals.len())]
    Invalid {
        /// What is wrong, and where: below `/events/3` in a batch.
        refusals: Vec<Refusal>,
        /// How many there were.
        of: usize,
    },
    /// One is too large; nothing was published.
    #[error("an event has {bytes} bytes, and may have {most}")]
    TooLarge {
        /// Where: `/events/3` in a batch.
        pointer: String,
        /// How large.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// Not all were confirmed; those that were are accepted, the others may be.
    #[error("{confirmed} of {of} events were confirmed: {error}")]
    Unconfirmed {
        /// How many were.
        confirmed: usize,
        /// How many there were.
        of: usize,
        /// What happened to the first that was not.
        error: PublishError,
    },
}

impl Producer {
    /// One that publishes to `broker`.
    pub fn new(
        config: &ProducerConfig,
        broker: Arc<dyn Broker>,
        metrics: ProducerMetrics,
        (clock, chance): (Clock, Chance),
    ) -> Arc<Self> {
        let (max_event, max_published) = (config.max_event_bytes, config.max_published_bytes());
        let seen = Seen::new(config.duplicates);
        Arc::new(Self { broker, metrics, clock, chance, max_event, max_published, seen })
    }

    /// Publishes a canonical event of a tenant, byte for byte as given. Returns its id once it is confirmed.
    ///
    /// # Errors
    /// Why it was not, or may not be, accepted.
    pub async fn publish(&self, tenant: &str, event: Bytes, trace: &Trace) -> Result<EventId, NotAccepted> {
        let prepared = self.prepare(tenant, [(String::new(), event)], trace).await?;
        only(self.confirm(CANONICAL, tenant, prepared).await?)
    }

    /// Publishes several canonical events, each under the pointer that its refusal is to stand below. Returns their ids,
    /// in order, once all are confirmed; publishes none unless all are valid.
    ///
    /// # Errors
    /// Why they were not, or not all, accepted.
    pub async fn publish_all(
        &self,
        tenant: &str,
        events: impl IntoIterator<Item = (String, Bytes)>,
        trace: &Trace,
    ) -> Result<Vec<EventId>, NotAccepted> {
        let prepared = self.prepare(tenant, events, trace).await?;
        self.confirm(CANONICAL, tenant, prepared).await
    }

    /// Publishes the event that a vendor's body is. Returns its id once it is confirmed.
    ///
    /// # Errors
    /// Why it was not, or may not be, accepted.
    pub async fn publish_vendor(&self, from: &SourceRef, body: &[u8], trace: &Trace) -> Result<EventId, NotAccepted> {
        self.check_size(String::new(), body.len(), self.max_event)?;
        let tenant = &from.tenant.id;
        let prepared = Prepared::vendor(from, body, &self.arrival(tenant, trace));
        let prepared = prepared.map_err(|refusal| NotAccepted::Invalid { refusals: vec![refusal], of: 1 })?;
        self.check_size(String::new(), prepared.message.body.len(), self.max_published)?;
        only(self.confirm(from.source.dialect.as_str(), tenant, vec![prepared]).await?)
    }

    async fn prepare(
        &self,
        tenant: &str,
        events: impl IntoIterator<Item = (String, Bytes)>,
        trace: &Trace,
    ) -> Result<Vec<Prepared>, NotAccepted> {
        let (mut prepared, mut refusals, mut of, mut since_turn) = (Vec::new(), Vec::new(), 0, 0);
        for (pointer, text) in events {
            of += 1;
            since_turn += text.len();
            if since_turn > TURN {
                since_turn = 0;
                tokio::task::yield_now().await;
            }
            let pointer = self.check_size(pointer, text.len(), self.max_event)?;
            match Prepared::canonical(text, &self.arrival(tenant, trace)) {
                Ok(event) => prepared.push(event),
                Err(refusal) => refusals.push(refusal.within(&pointer)),
            }
        }
        if refusals.is_empty() { Ok(prepared) } else { Err(NotAccepted::Invalid { refusals, of }) }
    }

    /// All are sent before the first is waited for.
    async fn confirm(&self, source: &str, tenant: &str, events: Vec<Prepared>) -> Result<Vec<EventId>, NotAccepted> {
        let begun = Instant::now();
        let ends = join_all(events.iter().map(|event| self.publish_once(tenant, event))).await;
        let of = events.len();
        let confirmed = ends.iter().filter(|end| end.is_ok()).count();
        let repeats = ends.iter().filter(|end| matches!(end, Ok(Taken::Before))).count();
        self.metrics.received.with_label_values(&[source]).inc_by((confirmed - repeats) as u64);
        self.metrics.deduplicated.with_label_values(&["intake"]).inc_by(repeats as u64);
        let taken = ends.into_iter().collect::<Result<Vec<_>, _>>();
        let taken = taken.map_err(|error| NotAccepted::Unconfirmed { confirmed, of, error })?;
        let duration_ms = begun.elapsed().as_millis() as u64;
        for (events, taken) in events.chunks(NAMED).zip(taken.chunks(NAMED)) {
            let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
            let (event_ids, count) = (ids.join(","), ids.len());
            let repeats = taken.iter().filter(|taken| matches!(taken, Taken::Before)).count();
            tracing::info!(tenant, source, count, repeats, event_ids, duration_ms, "events.accepted");
        }
        Ok(events.into_iter().map(|event| event.id).collect())
    }

    /// Publishes it, unless one under its id is durable already. Noted after the confirm: what was not confirmed is sent
    /// again, and then has to be published.
    async fn publish_once(&self, tenant: &str, event: &Prepared) -> Result<Taken, PublishError> {
        let id = seen::id_of(tenant, event.id.as_str());
        if self.seen.contains(id, self.now()) {
            return Ok(Taken::Before);
        }
        self.publish_one(event).await?;
        self.seen.note(id, self.now());
        Ok(Taken::Now)
    }

    async fn publish_one(&self, event: &Prepared) -> Result<(), PublishError> {
        let end = timeout(CONFIRM, self.broker.publish(&event.to, &event.message)).await;
        let late = || PublishError::Lost(format!("none within {} s", CONFIRM.as_secs()));
        end.unwrap_or_else(|_| Err(late()))
    }

    fn arrival<'a>(&self, tenant: &'a str, trace: &'a Trace) -> Arrival<'a> {
        Arrival { tenant, now: self.now(), chance: chance::bytes(&self.chance), trace }
    }

    /// Unix ms.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    fn check_size(&self, pointer: String, bytes: usize, most: usize) -> Result<String, NotAccepted> {
        if bytes > most { Err(NotAccepted::TooLarge { pointer, bytes, most }) } else { Ok(pointer) }
    }
}

/// When an event was taken in.
enum Taken {
    /// Just now.
    Now,
    /// Earlier, under the same id.
    Before,
}

/// The id of the one event that was published.
fn only(ids: Vec<EventId>) -> Result<EventId, NotAccepted> {
    let none = || NotAccepted::Unconfirmed { confirmed: 0, of: 1, error: PublishError::Nacked };
    ids.into_iter().next().ok_or_else(none)
}
