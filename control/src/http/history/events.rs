//! Events: list them, and show one with what became of it.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::json_schema;
use schemas::Scope;
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};

use super::{
    HistoryPageSchema, TAG, answer, filter, filter_of, history_of, page_request, scope_of_request,
    shapes::{ShownEvent, ShownEventStory},
    shown_since, unavailable,
};
use crate::{
    Control,
    history::fields::MATCHED,
    http::{context::RequestContext, describe},
};

pub(super) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/events",
            get_with(list, |op| described_list(op, "listEvents", "List events, newest first", Some(Scope::Read))),
        )
        .api_route(
            "/v1/tenants/{tenant}/events/{id}",
            get_with(show, |op| {
                let summary = "Show an event with what became of it";
                let op = describe::operation(op, TAG, "getEvent", summary, Some(Scope::Read));
                describe::answers::<200, ShownEventStory>(describe::refuses(op, &[Code::HistoryOff]))
            }),
        )
        .api_route(
            "/v1/events",
            get_with(list_of_all, |op| {
                let op = described_list(op, "listAllEvents", "List events of all tenants, newest first", None);
                let about = "Only of this tenant.";
                let op = describe::parameter(op, filter::TENANT, about, json_schema!({"type": "string"}));
                describe::refuses(op, &[Code::NotFound])
            }),
        )
}

fn described_list(op: Operation, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let op = describe::operation(op, TAG, id, summary, scope);
    let op = filter::described(describe::paged(op));
    let about = "Whether it made a delivery.";
    let op = describe::parameter(op, MATCHED, about, json_schema!({"type": "boolean"}));
    describe::answers::<200, HistoryPageSchema<ShownEvent>>(describe::refuses(op, &[Code::HistoryOff]))
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&filter::parameters(&[MATCHED]))?;
    let shown_from = Some(shown_since(&request, &authorized).records);
    listed(&request, &query, Some(scope_of_request(&authorized)?), shown_from).await
}

async fn list_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let known = filter::parameters(&[MATCHED, filter::TENANT]);
    let query = request.query(&known)?;
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
    let found = history.events(&asked).await.map_err(|error| unavailable(&error))?;
    let oldest = found.items.last().map(|event| event.accepted_at);
    let items = found.items.into_iter().map(|event| ShownEvent::of(event, is_of_all)).collect();
    answer(request, &**history, &asked, (items, found.next, oldest)).await
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (history, id) = (history_of(&request.control)?, request.path_parameter("id"));
    let story = history.event(&scope_of_request(&authorized)?, id).await.map_err(|error| unavailable(&error))?;
    let none = || Problem::new(Code::NotFound).detail(format!("there is no event `{id}`, or it is not kept any more"));
    let shown = shown_since(&request, &authorized);
    let mut story = story.filter(|story| story.event.accepted_at >= shown.records).ok_or_else(none)?;
    story.body = story.body.filter(|_| story.event.accepted_at >= shown.bodies);
    Ok(Json(ShownEventStory::from(story)).into_response())
}
