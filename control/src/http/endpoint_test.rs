//! Tests of endpoints, and of the views whose deliveries go to one: send one delivery, and answer with its attempt.

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

use super::{actions::HasEndpoint, context::RequestContext, describe, problems};
use crate::{Control, TestError, TestResult};

pub(crate) fn routes<R: HasEndpoint>() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        &format!("{}/test", R::PATH),
        post_with(test::<R>, |op| {
            let (id, summary) = (format!("test{}", R::OPERATION), format!("Send a test to {}", R::NAME));
            let op = describe::operation(op, R::TAG, &id, &summary, Some(Scope::Manage));
            let op = describe::more(
                op,
                "The vendor's test body, or for `canonical` an event `webhook.test`, down the path of all deliveries: \
                 one attempt, also while it is disabled. 202 where it was not attempted within 20 seconds.",
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

async fn test<R: HasEndpoint>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    request.query(&[])?;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter(R::PATH_ID));
    let found = |snapshot: &Snapshot| {
        let resource = R::in_snapshot(snapshot.tenant(tenant)?, id)?;
        Some((snapshot.endpoint(tenant, resource.endpoint_id())?.clone(), snapshot.revision()))
    };
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
