//! The catalogue of event types: what each means, and how it looks in each format.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemas::{EventTypeEntry, catalogue};
use serde_json::json;
use service::{
    openapi::{ApiRouter, get_with},
    problem::Problem,
};

use super::{context::RequestContext, describe};
use crate::Control;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/event-types",
        get_with(list, |op| {
            let op = describe::any_key(op, "events", "listEventTypes", "List the known event types");
            let op = describe::more(op, "All in one page. A producer may publish events of other types, too.");
            describe::answers::<200, describe::PageSchema<EventTypeEntry>>(op)
        }),
    )
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    request.key_owner().await?;
    request.query(&[])?;
    Ok(Json(json!({"items": catalogue(), "next": null})).into_response())
}
