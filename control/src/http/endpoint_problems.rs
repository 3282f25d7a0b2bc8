//! The endpoints that fail now, of all tenants, each with what to do about it.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use history::{Filter, History, PageRequest};
use schemars::{JsonSchema, json_schema};
use schemas::{OutcomeClass, time::rfc3339};
use serde::Serialize;
use service::{
    openapi::{ApiRouter, get_with},
    problem::{Code, Problem},
};
use store::Snapshot;
use tokio::time::Instant;

use super::{context::RequestContext, describe};
use crate::{Control, endpoint_health::FailingHealth, history::scope_of};

const PARAMETERS: [&str; 2] = ["limit", "tenant"];
/// Problems of an answer when `limit` is left out.
const DEFAULT_LIMIT: usize = 50;
/// Most problems of an answer. For each one a delivery is looked up.
const MAX_LIMIT: usize = 500;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/problems",
        get_with(list, |op| {
            let op = describe::operation(op, "status", "listProblems", "List the endpoints that fail now", None);
            let op = describe::more(
                op,
                "Of all tenants, the longest failing first, but every tenant's first before any tenant's second. They are as \
                 this process has heard them announced.",
            );
            let limit = json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT});
            let op = describe::parameter(op, "limit", "Largest number of them.", limit);
            let op = describe::parameter(op, "tenant", "Only of this tenant.", json_schema!({"type": "string"}));
            describe::answers::<200, Problems>(op)
        }),
    )
}

/// The endpoints that fail now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EndpointProblems")]
struct Problems {
    items: Vec<EndpointProblem>,
}

/// An endpoint that fails, and why.
#[derive(Serialize, JsonSchema)]
struct EndpointProblem {
    /// The tenant.
    tenant: String,
    /// The endpoint.
    endpoint_id: String,
    /// Class of the last attempt's outcome, and its status where there was an answer.
    cause: String,
    /// Time of the first failure after the last success.
    #[schemars(extend("format" = "date-time"))]
    since: String,
    /// Attempts that failed since then.
    attempts: u64,
    /// Deliveries that are known to wait for it.
    waiting: u64,
    /// The last attempt that failed.
    sample: ProblemSample,
    /// What to do about it.
    suggestion: &'static str,
}

/// An attempt that failed.
#[derive(Serialize, JsonSchema)]
struct ProblemSample {
    /// A delivery that fails for this; null where history has none.
    delivery_id: Option<String>,
    /// Begin of the attempt.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// HTTP status of the answer, if there was one.
    status: Option<u16>,
    /// The beginning of the answer, or why there was none.
    excerpt: Option<String>,
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&PARAMETERS)?;
    let (mut limit, mut tenant) = (DEFAULT_LIMIT, None);
    for (name, text) in query {
        match name.as_str() {
            "limit" => {
                let read = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                let wrong = || format!("limit: expected a whole number from 1 to {MAX_LIMIT}");
                limit = read.ok_or_else(|| Problem::new(Code::InvalidParameter).detail(wrong()))?;
            }
            _ => tenant = Some(text),
        }
    }
    let control = &request.control;
    let snapshot = control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let failing = control.endpoint_health.failing(&snapshot, tenant.as_deref(), Instant::now());
    let mut items = Vec::new();
    for (tenant, endpoint_id, health) in failing.into_iter().take(limit) {
        let delivery_id = sample_of(control.deps.history.as_deref(), &snapshot, &tenant, &endpoint_id, &health).await;
        items.push(problem(tenant, endpoint_id, health, delivery_id));
    }
    Ok(Json(Problems { items }).into_response())
}

/// A delivery whose last attempt failed like that; none where history does not say.
async fn sample_of(
    history: Option<&dyn History>,
    snapshot: &Snapshot,
    tenant: &str,
    endpoint_id: &str,
    health: &FailingHealth,
) -> Option<String> {
    let filter = Filter {
        tenant: Some(scope_of(snapshot.tenant(tenant)?)),
        endpoint_id: Some(endpoint_id.to_owned()),
        outcome: Some(health.last.outcome),
        ..Filter::default()
    };
    let found = history?.deliveries(&PageRequest { filter, limit: 1, after: None }).await.ok()?;
    found.items.first().map(|delivery| delivery.id.to_string())
}

fn problem(tenant: String, endpoint_id: String, health: FailingHealth, delivery_id: Option<String>) -> EndpointProblem {
    let FailingHealth { since, failures, last, waiting, .. } = health;
    let outcome = last.outcome.as_str();
    let cause = match last.status {
        Some(status) if outcome != status.to_string() => format!("{outcome} {status}"),
        _ => outcome.to_owned(),
    };
    let suggestion = suggestion(last.outcome, last.status);
    let sample = ProblemSample { delivery_id, at: rfc3339(last.at), status: last.status, excerpt: last.excerpt };
    EndpointProblem {
        tenant,
        endpoint_id,
        cause,
        since: rfc3339(since),
        attempts: failures,
        waiting,
        sample,
        suggestion,
    }
}

/// What to do about failed attempts, for whoever owns the endpoint.
fn suggestion(outcome: OutcomeClass, status: Option<u16>) -> &'static str {
    match (outcome, status) {
        (OutcomeClass::ClientError, Some(401 | 403)) => {
            "the receiver does not accept the key: set its headers or its n8n_api_key anew"
        }
        (OutcomeClass::ClientError, Some(404)) => {
            "nothing is at this URL: with n8n, activate the flow, and use its production URL, not /webhook-test/"
        }
        (OutcomeClass::ClientError, Some(413)) => "the receiver takes no body of this size: raise its limit",
        (OutcomeClass::ClientError, _) => "the receiver does not accept the request: look at its answer",
        (OutcomeClass::Redirect, _) => "the URL redirects, which is not followed: set the URL that it leads to",
        (OutcomeClass::Gone, _) => {
            "the receiver says that it is gone for good: delete the endpoint, or set another URL"
        }
        (OutcomeClass::TooMany, _) => "the receiver wants fewer requests: set a rate_limit",
        (OutcomeClass::ServerError, Some(502..=504)) => {
            "a proxy stands before the receiver and does not reach it: start the receiver, or wait"
        }
        (OutcomeClass::ServerError, _) => "the receiver fails: look at its own log",
        (OutcomeClass::Timeout, _) => {
            "the receiver answers too late: let it answer first and work afterwards, or raise the timeout"
        }
        (OutcomeClass::Connect, _) => "nothing listens there: start the receiver, or correct host and port",
        (OutcomeClass::Dns, _) => "the name of the host has no address: correct the URL, or its DNS record",
        (OutcomeClass::Tls, _) => "the certificate is not valid for this name, or has run out: renew it",
        (OutcomeClass::Malformed, _) => "the answer is no HTTP: check whether it is http:// or https://, and the port",
        (OutcomeClass::BlockedIp, _) => {
            "the address is private: use a public one, or have the operator allow the network"
        }
        (OutcomeClass::Success, _) => "it works again",
    }
}

#[cfg(test)]
mod tests {
    use schemas::process_report::FailedAttempt;

    use super::*;

    #[test]
    fn a_cause_names_the_class_and_the_status_once() {
        let cause = |outcome, status| {
            let last = FailedAttempt { at: 0, outcome, status, excerpt: None };
            let health =
                FailingHealth { since: 0, failures: 1, last, last_success_at: None, waiting: 0, next_at: None };
            problem("acme".into(), "crm".into(), health, None).cause
        };
        assert_eq!(cause(OutcomeClass::ServerError, Some(503)), "5xx 503");
        assert_eq!(cause(OutcomeClass::TooMany, Some(429)), "429");
        assert_eq!(cause(OutcomeClass::Dns, None), "dns");
    }

    #[test]
    fn every_outcome_has_a_suggestion_of_its_own() {
        let all: std::collections::BTreeSet<_> =
            OutcomeClass::ALL.iter().map(|class| suggestion(*class, None)).collect();
        assert_eq!(all.len(), OutcomeClass::ALL.len());
    }
}
