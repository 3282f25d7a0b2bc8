//! Limits of the intake: concurrent requests and bytes of their bodies, which tenants share, and each tenant's events per
//! second: its quota, and its share while others wait.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use schemas::QuotaName;
use service::{
    FairPermit, FairSemaphore,
    gcra::{Keyed, Limit, TooSoon},
    http::require_json,
    problem::{Code, Problem},
};
use store::{EventShares, Outbox, TenantSnapshot};
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

/// Smallest share of a tenant, in events a second.
const SMALLEST_SHARE: f64 = 1.0;
/// Longest wait that a tenant beyond its share is told: by then routers have measured anew.
const LONGEST_SHARE_WAIT: Duration = Duration::from_secs(3);
/// A tenant gets more while it holds no more than so many times what stays free: all but an eighth while it is alone, and
/// equal parts where several want more.
const SHARE_OF_FREE: u32 = 7;
/// Part of the places that requests with unknown keys and tokens have, while the store is asked for these.
const UNKNOWN_PART: usize = 8;

/// Places of requests and bytes of their bodies, shared by the tenants whose requests they are.
pub(crate) struct RequestSlots {
    requests: Arc<FairSemaphore>,
    bytes: Arc<FairSemaphore>,
    /// Places of requests whose tenant is not known yet.
    unknown: Semaphore,
    max_body: usize,
}

pub(crate) struct ReceivedBody {
    pub(crate) body: Bytes,
    /// Reservation of the body's bytes, released with the body.
    pub(crate) _reserved: Option<FairPermit>,
}

impl RequestSlots {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            requests: FairSemaphore::new(u32::try_from(config.max_concurrent).unwrap_or(u32::MAX)),
            bytes: FairSemaphore::new(config.max_in_flight_bytes),
            unknown: Semaphore::new(config.max_concurrent.div_ceil(UNKNOWN_PART)),
            max_body: config.max_body_bytes(),
        }
    }

    /// Reserves a slot for one request of a tenant, until the permit is dropped.
    pub(crate) fn acquire(&self, tenant: &str) -> Result<FairPermit, Problem> {
        let permit = self.requests.try_acquire_if(tenant, 1, |held, free| is_in_share(held, 1, free));
        permit.ok_or_else(|| full("too many requests at once for this tenant"))
    }

    /// Reserves a slot for one request whose key or token is not known.
    pub(crate) fn acquire_unknown(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.unknown.try_acquire().map_err(|_| full("too many requests at once with unknown keys or tokens"))
    }

    /// Reads a body that its headers declare as JSON. Fails when it is too large, or the tenant holds too many bytes
    /// already.
    pub(crate) async fn read_body(
        &self,
        tenant: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ReceivedBody, Problem> {
        require_json(headers)?;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let announced = announced.unwrap_or(0);
        if announced > self.max_body {
            return Err(self.too_large());
        }
        let late = || {
            let seconds = BODY_TIMEOUT.as_secs();
            Problem::new(Code::MalformedJson).detail(format!("the body did not arrive within {seconds} s"))
        };
        timeout(BODY_TIMEOUT, self.read_chunks(tenant, announced, body)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read_chunks(&self, tenant: &str, announced: usize, body: Body) -> Result<ReceivedBody, Problem> {
        let mut whole = Chunks::Empty;
        let mut reserved: Option<FairPermit> = None;
        let mut chunks = pin!(body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson).detail("the body broke off"))?;
            if whole.len() + chunk.len() > self.max_body {
                return Err(self.too_large());
            }
            let more = self.reserve(tenant, whole.len(), chunk.len())?;
            match &mut reserved {
                Some(reserved) => reserved.merge(more),
                None => reserved = Some(more),
            }
            whole = whole.with(chunk, announced);
        }
        Ok(ReceivedBody { body: whole.into_bytes(), _reserved: reserved })
    }

    /// Reserves the bytes of a chunk, after those of the same body that are `reserved` already. A body that is alone may
    /// have all there are.
    fn reserve(&self, tenant: &str, reserved: usize, chunk: usize) -> Result<FairPermit, Problem> {
        let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
        let may = |held: u32, free: u32| {
            let is_alone = held as usize == reserved && held + free == self.bytes.capacity();
            is_alone || is_in_share(held, chunk, free)
        };
        let permit = self.bytes.try_acquire_if(tenant, chunk, may);
        permit.ok_or_else(|| full("too many bytes at once for this tenant"))
    }

    fn too_large(&self) -> Problem {
        Problem::new(Code::PayloadTooLarge).detail(format!("a body may have {} bytes", self.max_body))
    }
}

/// The chunks of a body so far. A body of one chunk, as most are, is not copied.
enum Chunks {
    Empty,
    One(Bytes),
    Several(BytesMut),
}

impl Chunks {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(chunk) => chunk.len(),
            Self::Several(chunks) => chunks.len(),
        }
    }

    /// Adds a chunk of a body of so many bytes as its headers have announced.
    fn with(self, chunk: Bytes, announced: usize) -> Self {
        let mut chunks = match self {
            Self::Empty => return Self::One(chunk),
            Self::One(first) => {
                let mut chunks = BytesMut::with_capacity(announced.min(MAX_RESERVED_BYTES).max(first.len()));
                chunks.extend_from_slice(&first);
                chunks
            }
            Self::Several(chunks) => chunks,
        };
        chunks.extend_from_slice(&chunk);
        Self::Several(chunks)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Several(chunks) => chunks.freeze(),
        }
    }
}

/// True when a tenant that holds so much may have `more`, with so much free.
fn is_in_share(held: u32, more: u32, free: u32) -> bool {
    held.saturating_add(more) <= free.saturating_mul(SHARE_OF_FREE)
}

fn full(detail: &str) -> Problem {
    Problem::new(Code::TooManyRequests).detail(detail).retry_after(RETRY_WHEN_FULL)
}

/// Each tenant's `quota.events_per_second`, and its share while routers are behind, both measured in this process. A
/// request is accepted or refused as a whole, before any of its events is published.
pub(super) struct EventQuotas {
    used: Keyed<String>,
    /// What is used of the shares. It is apart, so that a share that is over leaves no wait behind.
    share_used: Keyed<String>,
    shares: Arc<EventShares>,
    outbox: Arc<Outbox>,
}

impl EventQuotas {
    pub(super) fn new(shares: Arc<EventShares>, outbox: Arc<Outbox>) -> Self {
        let [used, share_used] = [(); 2].map(|()| Keyed::new(REMEMBERED_TENANTS));
        Self { used, share_used, shares, outbox }
    }

    /// Accepts a request with this many events at `now` (unix milliseconds), or returns the time to wait. The burst is
    /// one second's worth. A larger batch is accepted after a second without events and followed by a longer pause, so
    /// that no batch is refused for ever.
    pub(super) fn take(&self, tenant: &TenantSnapshot, events: usize, now: u64) -> Result<(), Problem> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let share = self.shares.of(&tenant.id, now).map(|share| share.max(SMALLEST_SHARE));
        if let Some(share) = share {
            let taken = take(&self.share_used, tenant, share, events);
            taken.map_err(|TooSoon(wait)| beyond_share(share).retry_after(wait.min(LONGEST_SHARE_WAIT)))?;
        }
        let Some(per_second) = tenant.quota.events_per_second else { return Ok(()) };
        take(&self.used, tenant, per_second, events).map_err(|TooSoon(wait)| {
            // What is refused as a whole has used nothing of the share either.
            if let Some(limit) = share.and_then(limit) {
                self.share_used.give_back(tenant.id.clone(), &limit, events);
            }
            self.outbox.record_quota_reached(&tenant.id, QuotaName::EventsPerSecond, per_second, now);
            let detail =
                format!("the tenant's quota of {per_second} events a second is used up; nothing was published");
            Problem::new(Code::TooManyRequests).detail(detail).retry_after(wait)
        })
    }
}

/// Takes events of what a tenant may publish a second, all of them or none.
fn take(used: &Keyed<String>, tenant: &TenantSnapshot, per_second: f64, events: u32) -> Result<(), TooSoon> {
    let Some(limit) = limit(per_second) else { return Ok(()) };
    used.take(tenant.id.clone(), &limit, events, Instant::now())
}

/// Neither a quota nor a share is an invalid rate: the configuration and `SMALLEST_SHARE` see to that.
fn limit(per_second: f64) -> Option<Limit> {
    Limit::new(per_second, per_second.ceil() as u32).ok()
}

fn beyond_share(share: f64) -> Problem {
    let detail = format!(
        "too many events wait to be routed: while they do, this tenant may publish {share:.1} events a second, which is \
         its share and no quota; nothing was published"
    );
    Problem::new(Code::TooManyRequests).detail(detail)
}
