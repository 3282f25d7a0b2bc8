//! Deliveries: list them, show one with its story, and send one again.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use history::tenant_of_scope;
use schemars::{JsonSchema, json_schema};
use schemas::Scope;
use serde::Serialize;
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use uuid::Uuid;

use super::{
    HistoryPageSchema, TAG, answer, filter, filter_of, history_of, page_request, scope_of_request,
    shapes::{ShownDelivery, ShownDeliveryStory},
    shown_since, unavailable,
};
use crate::{
    Control,
    history::{Resend, ResendError},
    http::{
        context::{RequestBody, RequestContext},
        describe, problems,
    },
};

pub(super) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/deliveries",
            get_with(list, |op| described_list(op, "listDeliveries", "List deliveries, newest first", Some(Scope::Read))),
        )
        .api_route(
            "/v1/tenants/{tenant}/deliveries/{id}",
            get_with(show, |op| {
                let op = describe::operation(op, TAG, "getDelivery", "Show a delivery with its story", Some(Scope::Read));
                describe::answers::<200, ShownDeliveryStory>(describe::refuses(op, &[Code::HistoryOff]))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/deliveries/{id}/resend",
            post_with(resend, |op| {
                let op = describe::operation(op, TAG, "resendDelivery", "Send a delivery again", Some(Scope::Manage));
                let op = describe::more(
                    op,
                    "Whatever became of it, it is posted again under the same `webhook-id`, which begins its next run; a \
                     dead letter of it ends. With an `endpoint_id` the event is rendered anew in that endpoint's format and \
                     goes there. 409 where its body is not kept any more.",
                );
                let op = describe::may_take::<ResendBody>(op, r#"{"endpoint_id":"crm"}"#);
                describe::answers::<202, ResendAnswer>(describe::refuses(op, &[Code::Conflict, Code::HistoryOff]))
            }),
        )
        .api_route(
            "/v1/deliveries",
            get_with(list_of_all, |op| {
                let summary = "List deliveries of all tenants, newest first";
                let op = described_list(op, "listAllDeliveries", summary, None);
                let about = "Only of this tenant.";
                let op = describe::parameter(op, filter::TENANT, about, json_schema!({"type": "string"}));
                describe::refuses(op, &[Code::NotFound])
            }),
        )
}

fn described_list(op: Operation, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let op = describe::operation(op, TAG, id, summary, scope);
    let op = filter::described(describe::paged(op));
    describe::answers::<200, HistoryPageSchema<ShownDelivery>>(describe::refuses(op, &[Code::HistoryOff]))
}

/// Where a delivery is sent again.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described only: the handler names every mistake")]
struct ResendBody {
    /// Another endpoint; left out, the delivery's own.
    #[schemars(regex(pattern = schemas::pattern::ID_OR_VIEW))]
    endpoint_id: Option<String>,
}

/// What is sent again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Resent")]
struct ResendAnswer {
    /// The delivery; another one, if it goes to another endpoint.
    delivery_id: Uuid,
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&filter::parameters(&[]))?;
    let shown_from = Some(shown_since(&request, &authorized).records);
    listed(&request, &query, Some(scope_of_request(&authorized)?), shown_from).await
}

async fn list_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&filter::parameters(&[filter::TENANT]))?;
    listed(&request, &query, None, None).await
}

async fn listed(
    request: &RequestContext,
    query: &[(String, String)],
    scope: Option<String>,
    shown_from: Option<u64>,
) -> Result<Response, Problem> {
    let history = history_of(&request.control)?;
    let is_of_all = scope.is_none();
    let asked = page_request(query, filter_of(request, query, scope, shown_from).await?)?;
    let found = history.deliveries(&asked).await.map_err(|error| unavailable(&error))?;
    let oldest = found.items.last().map(|delivery| delivery.accepted_at);
    let items = found.items.into_iter().map(|delivery| ShownDelivery::of(delivery, is_of_all)).collect();
    answer(request, &**history, &asked, (items, found.next, oldest)).await
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (history, id) = (history_of(&request.control)?, delivery_id(&request)?);
    let story = history.delivery(&scope_of_request(&authorized)?, id).await.map_err(|error| unavailable(&error))?;
    let shown = shown_since(&request, &authorized);
    let story = story.filter(|story| story.delivery.accepted_at >= shown.records);
    let mut story = story.ok_or_else(|| no_delivery(id))?;
    story.body = story.body.filter(|_| story.delivery.accepted_at >= shown.bodies);
    Ok(Json(ShownDeliveryStory::from(story)).into_response())
}

async fn resend(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    request.query(&[])?;
    let mut wrong = Problem::new(Code::InvalidBody);
    let mut endpoint_id = None;
    for (name, value) in body.object_or_nothing().await? {
        match (name.as_str(), value) {
            ("endpoint_id", serde_json::Value::String(id)) => endpoint_id = Some(id),
            ("endpoint_id", serde_json::Value::Null) => {}
            ("endpoint_id", _) => wrong = wrong.error("/endpoint_id", "expected a text"),
            (name, _) => wrong = wrong.error(schemas::pointer::to_member(name), "unknown; there is endpoint_id"),
        }
    }
    if !wrong.errors.is_empty() {
        return Err(wrong);
    }
    let (history, id) = (history_of(&request.control)?, delivery_id(&request)?);
    let scope = scope_of_request(&authorized)?;
    let story = history.delivery(&scope, id).await.map_err(|error| unavailable(&error))?;
    let shown = shown_since(&request, &authorized);
    let story = story.filter(|story| story.delivery.accepted_at >= shown.bodies);
    let story = story.ok_or_else(|| no_delivery(id))?;
    let tenant = authorized.tenant.as_ref().ok_or(Code::NotFound)?;
    let resend = Resend::of_one(&request.control, tenant, &**history).await.map_err(refused)?;
    let delivery_id = resend.send(&story, endpoint_id.as_deref()).await.map_err(refused)?;
    tracing::info!(
        tenant = tenant_of_scope(&scope), delivery_id = %delivery_id, author = authorized.author.name,
        "delivery.resent"
    );
    Ok((StatusCode::ACCEPTED, Json(ResendAnswer { delivery_id })).into_response())
}

fn refused(error: ResendError) -> Problem {
    match error {
        ResendError::NoEndpoint(ref id) => {
            Problem::new(Code::InvalidBody).error("/endpoint_id", format!("there is no endpoint `{id}`"))
        }
        ResendError::NoBody | ResendError::NotActive(_) | ResendError::NoSuchFormat(_) => {
            Problem::new(Code::Conflict).detail(error.to_string())
        }
        ResendError::History(error) => unavailable(&error),
        ResendError::NotPublished(_) | ResendError::Log(_) => problems::publish_failed(),
    }
}

fn delivery_id(request: &RequestContext) -> Result<Uuid, Problem> {
    let id = request.path_parameter("id");
    id.parse().map_err(|_| Problem::new(Code::NotFound).detail(format!("there is no delivery `{id}`")))
}

fn no_delivery(id: Uuid) -> Problem {
    Problem::new(Code::NotFound).detail(format!("there is no delivery `{id}`, or it is not kept any more"))
}
