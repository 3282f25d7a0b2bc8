//! The intake over HTTP: canonical events of a tenant, and vendors' webhooks with a token in their path.

mod limits;
mod openapi;
mod problems;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use broker::Broker;
use bytes::Bytes;
use schemas::{KeyHash, Refusal, Scope, Submission, SubmittedEvent, wire::MAX_HOPS};
use service::{
    http::{bearer, parameters, strictness},
    openapi::{ApiRouter, Description, post_with},
    problem::{Code, Problem},
};
use store::{Access, Denied, EventShares, Outbox, SourceRef, Store, StoreError, access, admit};

use limits::{EventQuotas, ReceivedBody, RequestSlots};
use openapi::{AcceptedEvents, AcceptedWebhook};

use crate::{
    AcceptedEvent, EventOrigin, NotAccepted, Producer, ProducerConfig, ProducerMetrics,
    config::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS},
    publish::Submitted,
};

/// Header of the key that a source may require from its vendor.
const API_KEY: &str = "x-n8n-api-key";

/// Dependencies of the intake besides the producer.
pub struct IntakeDependencies {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn Store>,
    /// Hash of the operator's key. Without it, no request has the operator's rights.
    pub operator: Option<KeyHash>,
    /// How many events a second tenants may publish while routers are behind.
    pub event_shares: Arc<EventShares>,
    /// Receives findings about used-up quotas and loops.
    pub outbox: Arc<Outbox>,
}

struct Intake {
    producer: Arc<Producer>,
    deps: IntakeDependencies,
    slots: RequestSlots,
    quotas: EventQuotas,
    metrics: ProducerMetrics,
}

/// The routes of the intake, to be merged with the process' other routes.
pub fn routes(
    config: &ProducerConfig,
    producer: Arc<Producer>,
    deps: IntakeDependencies,
    metrics: ProducerMetrics,
) -> Router {
    let quotas = EventQuotas::new(deps.event_shares.clone(), deps.outbox.clone());
    let intake = Intake { producer, deps, slots: RequestSlots::new(config), quotas, metrics };
    api().into_parts().0.with_state(Arc::new(intake))
}

/// Describes these routes for OpenAPI.
pub fn describe() -> Description {
    api().into_parts().1
}

fn api() -> ApiRouter<Arc<Intake>> {
    ApiRouter::new()
        .api_route("/v1/tenants/{tenant}/events", post_with(events, openapi::events))
        .api_route("/v1/in/{token}", post_with(webhook, openapi::webhook))
}

async fn events(
    State(intake): State<Arc<Intake>>,
    tenant: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let _in_flight = InFlight::of(&intake.metrics);
    let tenant = readable(tenant);
    let (head, body) = request.into_parts();
    let accepted = intake.events(&tenant, &head, body).await;
    let accepted = accepted.map_err(|problem| intake.refuse(problem, Some(&tenant)))?;
    Ok((StatusCode::ACCEPTED, Json(AcceptedEvents::from(accepted))).into_response())
}

async fn webhook(
    State(intake): State<Arc<Intake>>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let _in_flight = InFlight::of(&intake.metrics);
    let (head, body) = request.into_parts();
    let accepted = intake.webhook(&readable(token), &head, body).await;
    let accepted = accepted.map_err(|problem| intake.refuse(problem, None))?;
    Ok((StatusCode::ACCEPTED, Json(AcceptedWebhook::from(accepted))).into_response())
}

/// A segment of the path, or an empty text, which matches nothing, when it cannot be read. It must not be quoted.
fn readable(part: Result<Path<String>, PathRejection>) -> String {
    part.map(|Path(part)| part).unwrap_or_default()
}

impl Intake {
    async fn events(&self, tenant: &str, head: &Parts, body: Body) -> Result<Vec<AcceptedEvent>, Problem> {
        let (query, headers) = (head.uri.query().unwrap_or_default(), &head.headers);
        let access = self.access(tenant, headers, self.producer.now()).await?;
        parameters(query, &["strict"])?;
        let strictness = strictness(query)?;
        let _slot = self.slots.acquire(tenant)?;
        let origin = self.origin(headers, tenant, None)?;
        problems::check_broker(&self.deps.broker.connection_state().borrow())?;
        let ReceivedBody { body, _reserved } = self.slots.read_body(tenant, headers, body).await?;
        let events = split_events(&body)?;
        self.quotas.take(&access.tenant, events.len(), self.producer.now())?;
        Ok(self.producer.publish_all(tenant, events, &origin, strictness).await?)
    }

    /// Takes a vendor's body in. Parameters that are not ours are the vendor's, and are passed over.
    async fn webhook(&self, token: &str, head: &Parts, body: Body) -> Result<AcceptedEvent, Problem> {
        let (query, headers) = (head.uri.query().unwrap_or_default(), &head.headers);
        let source = self.source(token, headers, self.producer.now()).await?;
        let strictness = strictness(query)?;
        let tenant = &source.tenant.id;
        let _slot = self.slots.acquire(tenant)?;
        let origin = self.origin(headers, tenant, Some(&source.source.id))?;
        problems::check_broker(&self.deps.broker.connection_state().borrow())?;
        let ReceivedBody { body, _reserved } = self.slots.read_body(tenant, headers, body).await?;
        self.quotas.take(&source.tenant, 1, self.producer.now())?;
        Ok(self.producer.publish_vendor(&source, &body, &origin, strictness).await?)
    }

    /// Where a request's events come from: from a source, or with a key. What goes round in a loop is refused, and its
    /// tenant is told.
    fn origin(&self, headers: &HeaderMap, tenant: &str, source_id: Option<&str>) -> Result<EventOrigin, Problem> {
        let origin = EventOrigin::of(headers);
        if origin.hops <= MAX_HOPS {
            return Ok(origin);
        }
        self.deps.outbox.record_event_loop(tenant, source_id, self.producer.now());
        let detail = format!(
            "the header carteiro-hops is above {MAX_HOPS}: a delivery came back in as an event again and again; \
             nothing was published"
        );
        Err(Problem::new(Code::EventLoop).detail(detail))
    }

    /// Decides whether a request may publish for a tenant at `now` (unix milliseconds). What the snapshot does not allow
    /// waits for the store in a place of its own.
    async fn access(&self, tenant: &str, headers: &HeaderMap, now: u64) -> Result<Access, Problem> {
        let IntakeDependencies { store, operator, .. } = &self.deps;
        let (presented, scope) = (bearer(headers), Scope::Publish);
        let known = store.snapshot().map(|snapshot| access(&snapshot, *operator, presented, tenant, scope, now));
        match known {
            Some(Ok(access)) => return Ok(access),
            // It is another tenant's key, which no pull changes. The operator's key may be for a tenant that is new.
            Some(Err(denied @ Denied::OtherTenant)) => return Err(problems::denied(&denied)),
            _ => {}
        }
        let _slot = self.slots.acquire_unknown()?;
        let access = admit(&**store, *operator, presented, tenant, scope, now).await;
        access.map_err(|denied| problems::denied(&denied))
    }

    /// The source of a token that is valid at `now` (unix milliseconds). An unknown source or key may be new, so the
    /// store is pulled once before the request is refused.
    async fn source(&self, token: &str, headers: &HeaderMap, now: u64) -> Result<SourceRef, Problem> {
        let store = &*self.deps.store;
        let find = || match store.snapshot() {
            Some(snapshot) => authenticated(snapshot.source(token, now), headers),
            None => Err(problems::denied(&Denied::Away(StoreError("nothing was read yet".to_owned())))),
        };
        match find() {
            Ok(source) => Ok(source),
            Err(_) => {
                let _slot = self.slots.acquire_unknown()?;
                store.pull().await.map_err(|error| problems::denied(&Denied::Away(error)))?;
                find()
            }
        }
    }

    /// Counts and logs a refusal with its reason and place. Keys may be in the place; nothing else of the request's content
    /// is logged.
    fn refuse(&self, problem: Problem, tenant: Option<&str>) -> Problem {
        let code = problem.code.as_str();
        self.metrics.refused.with_label_values(&[code]).inc();
        // Without a valid key, the text of `tenant` is untrusted, also where the detail repeats it.
        let is_known = !matches!(problem.code, Code::Unauthorized | Code::NotFound);
        let (tenant, detail) = (tenant.filter(|_| is_known), problem.detail.as_deref().filter(|_| is_known));
        let pointer = problem.errors.first().map(|error| error.pointer.as_str());
        tracing::info!(code, tenant, detail, pointer, "events.refused");
        problem
    }
}

/// A source, if the request has the key that the source requires.
fn authenticated(source: Option<&SourceRef>, headers: &HeaderMap) -> Result<SourceRef, Problem> {
    let found = source.ok_or_else(|| Problem::new(Code::NotFound).detail("no source has this token"))?;
    if let Some(expected) = &found.source.n8n_api_key {
        let presented = headers.get(API_KEY).and_then(|key| key.to_str().ok());
        // Comparing hashes instead of keys keeps the timing from revealing the key.
        if presented.map(KeyHash::of) != Some(KeyHash::of(expected.reveal())) {
            return Err(Problem::new(Code::Unauthorized));
        }
    }
    Ok(found.clone())
}

/// Splits a body into events. They share the body's memory. A body that is no batch is read, because it may be no JSON at
/// all.
fn split_events(body: &Bytes) -> Result<Vec<Submitted>, Problem> {
    let whole = |refusal: Refusal| NotAccepted::Invalid { refusals: vec![refusal], of: 1 };
    let events = match Submission::of(body).map_err(whole)? {
        Submission::One(text) => {
            let read = match SubmittedEvent::read(text) {
                Err(refusal) if refusal.is_of_the_whole() => return Err(whole(refusal).into()),
                read => Some(read),
            };
            return Ok(vec![Submitted { pointer: String::new(), text: body.clone(), read }]);
        }
        Submission::Batch(events) => events,
    };
    if body.len() > MAX_BATCH_BYTES {
        return Err(Problem::new(Code::PayloadTooLarge).detail(format!("a batch may have {MAX_BATCH_BYTES} bytes")));
    }
    if events.len() > MAX_BATCH_EVENTS {
        let most = format!("has {} events, and may have {MAX_BATCH_EVENTS}", events.len());
        return Err(Problem::new(Code::InvalidBody).error("/events", most));
    }
    let event = |(at, text): (usize, &str)| Submitted {
        pointer: format!("/events/{at}"),
        text: body.slice_ref(text.as_bytes()),
        read: None,
    };
    Ok(events.into_iter().enumerate().map(event).collect())
}

/// Counts a request while it is handled, also if its sender disconnects before the answer.
struct InFlight<'a>(&'a ProducerMetrics);

impl<'a> InFlight<'a> {
    fn of(metrics: &'a ProducerMetrics) -> Self {
        metrics.requests_in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.dec();
    }
}
