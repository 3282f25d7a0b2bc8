//! The two entrances: canonical events of a tenant, and vendors' webhooks by the token in their address.

mod answer;
mod describe;
mod gate;
mod quota;
mod sender;

use std::sync::Arc;

use aide::{
    axum::{ApiRouter, routing::post_with},
    openapi::OpenApi,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use broker::Broker;
use bytes::Bytes;
use gate::{Arrived, Gate};
use quota::Quotas;
use schemas::{EventId, KeyHash, Refusal, Scope, Submission};
use serde_json::json;
use service::{
    http::bearer,
    problem::{Code, Problem},
};
use store::{Outbox, Store, admit};

use crate::{
    NotAccepted, Producer, ProducerConfig, ProducerMetrics, Trace,
    config::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS},
};

/// What the entrances ask before they let anything in.
pub struct Guard {
    /// Whether anything can be published now.
    pub broker: Arc<dyn Broker>,
    /// Who may publish.
    pub store: Arc<dyn Store>,
    /// The operator's key, hashed; without it nobody is the operator.
    pub operator: Option<KeyHash>,
    /// Who had to be turned away is told here.
    pub outbox: Arc<Outbox>,
}

struct Intake {
    producer: Arc<Producer>,
    guard: Guard,
    gate: Gate,
    quotas: Quotas,
    metrics: ProducerMetrics,
}

/// What the producer serves, to be merged with what else the process serves.
pub fn routes(config: &ProducerConfig, producer: Arc<Producer>, guard: Guard, metrics: ProducerMetrics) -> Router {
    let quotas = Quotas::new(guard.outbox.clone());
    let intake = Intake { producer, guard, gate: Gate::new(config), quotas, metrics };
    Router::from(api()).with_state(Arc::new(intake))
}

/// Says of these routes what OpenAPI wants to know.
pub fn describe(document: &mut OpenApi) {
    // Only the description is wanted: without a state it serves nothing.
    let _ = api().finish_api(document);
}

fn api() -> ApiRouter<Arc<Intake>> {
    ApiRouter::new()
        .api_route("/v1/tenants/{tenant}/events", post_with(events, describe::events))
        .api_route("/v1/in/{token}", post_with(vendor, describe::vendor))
}

async fn events(
    State(intake): State<Arc<Intake>>,
    tenant: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let _in_flight = InFlight::of(&intake.metrics);
    let tenant = readable(tenant);
    let accepted = intake.events(&tenant, &headers, body).await;
    let ids = accepted.map_err(|problem| intake.refuse(problem, Some(&tenant)))?;
    let accepted: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted}))).into_response())
}

async fn vendor(
    State(intake): State<Arc<Intake>>,
    token: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let _in_flight = InFlight::of(&intake.metrics);
    let id = intake.vendor(&readable(token), &headers, body).await.map_err(|problem| intake.refuse(problem, None))?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id}))).into_response())
}

/// What cannot even be read is as unknown as anything else that is not there, and must not be quoted.
fn readable(part: Result<Path<String>, PathRejection>) -> String {
    part.map(|Path(part)| part).unwrap_or_default()
}

impl Intake {
    async fn events(&self, tenant: &str, headers: &HeaderMap, body: Body) -> Result<Vec<EventId>, Problem> {
        let _place = self.gate.enter()?;
        let Guard { store, operator, .. } = &self.guard;
        let now = self.producer.now();
        let access = admit(&**store, *operator, bearer(headers), tenant, Scope::Publish, now).await;
        let access = access.map_err(|denied| answer::denied(&denied))?;
        answer::unless_ready(&self.guard.broker.connection_state().borrow())?;
        let Arrived { body, _room } = self.gate.receive(headers, body).await?;
        let events = cut(&body)?;
        self.quotas.admit(&access.tenant, events.len(), self.producer.now())?;
        Ok(self.producer.publish_all(tenant, events, &trace(headers)).await?)
    }

    async fn vendor(&self, token: &str, headers: &HeaderMap, body: Body) -> Result<EventId, Problem> {
        let _place = self.gate.enter()?;
        let source = sender::identify(&*self.guard.store, token, headers, self.producer.now()).await?;
        answer::unless_ready(&self.guard.broker.connection_state().borrow())?;
        let Arrived { body, _room } = self.gate.receive(headers, body).await?;
        self.quotas.admit(&source.tenant, 1, self.producer.now())?;
        Ok(self.producer.publish_vendor(&source, &body, &trace(headers)).await?)
    }

    /// Counts and logs a refusal: what was wrong and where, never what was sent.
    fn refuse(&self, problem: Problem, tenant: Option<&str>) -> Problem {
        let code = problem.code.as_str();
        self.metrics.refused.with_label_values(&[code]).inc();
        // Somebody who has not shown a key chose the text of `tenant`.
        let tenant = tenant.filter(|_| !matches!(problem.code, Code::Unauthorized | Code::NotFound));
        let pointer = problem.errors.first().map(|error| error.pointer.as_str());
        tracing::info!(code, tenant, detail = problem.detail, pointer, "events.refused");
        problem
    }
}

/// The events of a body, each with its pointer. They share the body's memory.
fn cut(body: &Bytes) -> Result<Vec<(String, Bytes)>, Problem> {
    let one = |refusal: Refusal| NotAccepted::Invalid { refusals: vec![refusal], of: 1 };
    let submission = Submission::of(body).map_err(one)?;
    if let Submission::Batch(events) = &submission {
        if body.len() > MAX_BATCH_BYTES {
            return Err(Problem::new(Code::PayloadTooLarge).detail(format!("a batch may have {MAX_BATCH_BYTES} bytes")));
        }
        if events.len() > MAX_BATCH_EVENTS {
            let most = format!("has {} events, and may have {MAX_BATCH_EVENTS}", events.len());
            return Err(Problem::new(Code::InvalidBody).error("/events", most));
        }
    }
    Ok(submission.events().map(|(pointer, text)| (pointer, body.slice_ref(text.as_bytes()))).collect())
}

fn trace(headers: &HeaderMap) -> Trace {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::of(text(schemas::wire::TRACEPARENT), text(schemas::wire::TRACESTATE))
}

/// A request being taken in, also if its sender leaves before the answer.
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
