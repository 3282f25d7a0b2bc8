//! The test button.

use std::sync::Arc;

use aide::axum::{ApiRouter, routing::post_with};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use schemas::{Attempt, Scope};
use service::problem::{Code, Problem};
use store::Snapshot;
use uuid::Uuid;

use super::{call::Call, denied, describe};
use crate::{Control, NotTested, Tested};

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/endpoints/{id}/test",
        post_with(test, |op| {
            let op = describe::call(op, "endpoints", "testEndpoint", "Send a test", Some(Scope::Manage));
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

async fn test(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let (tenant, id) = (who.tenant_id(), call.part("id"));
    let found = |snapshot: &Snapshot| Some((snapshot.endpoint(tenant, id)?.clone(), snapshot.revision()));
    let (endpoint, revision) = call.find(found).await?;
    match call.control.test(tenant, &endpoint, revision).await {
        Ok(Tested::Attempted(attempt)) => Ok(Json(TestAttempted { attempt }).into_response()),
        Ok(Tested::Waiting(delivery_id)) => Ok((StatusCode::ACCEPTED, Json(TestWaits { delivery_id })).into_response()),
        Err(error @ NotTested::TooMany) => Err(Problem::new(Code::TooManyRequests).detail(error.to_string())),
        Err(NotTested::NotPublished(_)) => Err(denied::unpublished()),
    }
}
