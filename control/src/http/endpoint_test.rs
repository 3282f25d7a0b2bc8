//! Tests of endpoints: send one delivery, and answer with its attempt.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use schemas::{Attempt, Scope};
use service::{
    openapi::{ApiRouter, post_with},
    problem::{Code, Problem},
};
use store::Snapshot;
use uuid::Uuid;

use super::{context::RequestContext, describe, problems};
use crate::{Control, TestError, TestResult};

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/endpoints/{id}/test",
        post_with(test, |op| {
            let op = describe::operation(op, "endpoints", "testEndpoint", "Send a test", Some(Scope::Manage));
            let op = describe::more(
                op,
                "The vendor's test body, or for `canonical` an event `webhook.test`, down the path of all deliveries: \
                 one attempt, also while the endpoint is disabled. 202 where it was not attempted within 20 seconds.",
            );
            describe::answers::<202, TestWaits>(describe::answers::<200, TestAttempted>(op))
        }),
    )
}

/// How a test went.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct TestAttempted {
    /// The one attempt.
    attempt: Attempt,
}

/// A test that is still to be attempted.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct TestWaits {
    /// Which delivery it is, as the receiver's header `carteiro-delivery-id` says.
    delivery_id: Uuid,
}

async fn test(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    request.query(&[])?;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter("id"));
    let found = |snapshot: &Snapshot| Some((snapshot.endpoint(tenant, id)?.clone(), snapshot.revision()));
    let (endpoint, revision) = request.find(found).await?;
    match request.control.test_endpoint(tenant, &endpoint, revision).await {
        Ok(TestResult::Attempted(attempt)) => Ok(Json(TestAttempted { attempt }).into_response()),
        Ok(TestResult::Waiting(delivery_id)) => {
            Ok((StatusCode::ACCEPTED, Json(TestWaits { delivery_id })).into_response())
        }
        Err(error @ TestError::TooMany) => Err(Problem::new(Code::TooManyRequests).detail(error.to_string())),
        Err(TestError::NotPublished(_)) => Err(problems::publish_failed()),
    }
}
