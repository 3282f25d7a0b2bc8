//! Limits of the intake: concurrent requests, bytes of their bodies, and each tenant's events per second.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use schemas::QuotaName;
use service::{
    gcra::{Keyed, Limit, TooSoon},
    http::is_json,
    problem::{Code, Problem},
};
use store::{Outbox, TenantSnapshot};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::problems::RETRY_WHEN_FULL;
use crate::ProducerConfig;

/// Longest time for a body to arrive, because a slow sender occupies a slot.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest part of a body's announced length that is reserved at once, in bytes; the rest is reserved as it arrives.
const MAX_RESERVED_BYTES: usize = 256 << 10;
/// Number of remembered tenants with a quota. Beyond it, the tenant that was idle longest gets its full allowance
/// again.
const REMEMBERED_TENANTS: usize = 100_000;

pub(crate) struct RequestSlots {
    requests: Semaphore,
    bytes: Semaphore,
    max_body: usize,
}

pub(crate) struct ReceivedBody<'a> {
    pub(crate) body: Bytes,
    /// Reservation of the body's bytes, released with the body.
    pub(crate) _reserved: Option<SemaphorePermit<'a>>,
}

impl RequestSlots {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            requests: Semaphore::new(config.max_concurrent),
            bytes: Semaphore::new(config.max_in_flight_bytes as usize),
            max_body: config.max_body_bytes(),
        }
    }

    /// Reserves a slot for one request, until the permit is dropped.
    pub(crate) fn acquire(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.requests.try_acquire().map_err(|_| full("too many requests at once"))
    }

    /// Reads a body that its headers declare as JSON. Fails when it is too large, or too many bytes are held already.
    pub(crate) async fn read_body(&self, headers: &HeaderMap, body: Body) -> Result<ReceivedBody<'_>, Problem> {
        if !is_json(headers) {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let announced = announced.unwrap_or(0);
        if announced > self.max_body {
            return Err(self.too_large());
        }
        let late = || {
            let seconds = BODY_TIMEOUT.as_secs();
            Problem::new(Code::MalformedJson).detail(format!("the body did not arrive within {seconds} s"))
        };
        timeout(BODY_TIMEOUT, self.read_chunks(announced, body)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read_chunks(&self, announced: usize, body: Body) -> Result<ReceivedBody<'_>, Problem> {
        let mut whole = BytesMut::with_capacity(announced.min(MAX_RESERVED_BYTES));
        let mut reserved: Option<SemaphorePermit<'_>> = None;
        let mut chunks = pin!(body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson).detail("the body broke off"))?;
            if whole.len() + chunk.len() > self.max_body {
                return Err(self.too_large());
            }
            let weight = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let more = self.bytes.try_acquire_many(weight).map_err(|_| full("too many bytes at once"))?;
            match &mut reserved {
                Some(reserved) => reserved.merge(more),
                None => reserved = Some(more),
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(ReceivedBody { body: whole.freeze(), _reserved: reserved })
    }

    fn too_large(&self) -> Problem {
        Problem::new(Code::PayloadTooLarge).detail(format!("a body may have {} bytes", self.max_body))
    }
}

fn full(detail: &str) -> Problem {
    Problem::new(Code::TooManyRequests).detail(detail).retry_after(RETRY_WHEN_FULL)
}

/// Each tenant's `quota.events_per_second`, measured in this process. A request is accepted or refused as a whole,
/// before any of its events is published.
pub(super) struct EventQuotas {
    used: Keyed<String>,
    outbox: Arc<Outbox>,
}

impl EventQuotas {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { used: Keyed::new(REMEMBERED_TENANTS), outbox }
    }

    /// Accepts a request with this many events at `now` (unix milliseconds), or returns the time to wait. The burst is
    /// one second's worth. A larger batch is accepted after a second without events and followed by a longer pause, so
    /// that no batch is refused for ever.
    pub(super) fn take(&self, tenant: &TenantSnapshot, events: usize, now: u64) -> Result<(), Problem> {
        let Some(per_second) = tenant.quota.events_per_second else { return Ok(()) };
        // The configuration is refused when a quota is not a valid rate.
        let Ok(limit) = Limit::new(per_second, per_second.ceil() as u32) else { return Ok(()) };
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let taken = self.used.take(tenant.id.clone(), &limit, events, Instant::now());
        taken.map_err(|TooSoon(wait)| {
            self.outbox.record_quota_reached(&tenant.id, QuotaName::EventsPerSecond, per_second, now);
            let detail =
                format!("the tenant's quota of {per_second} events a second is used up; nothing was published");
            Problem::new(Code::TooManyRequests).detail(detail).retry_after(wait)
        })
    }
}
