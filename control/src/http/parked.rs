//! Parked messages, for the operator: list them, show one, and publish one again.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use broker::records::{read_parked, requeued};
use futures_util::TryStreamExt as _;
use schemas::Parked;
use service::{
    openapi::{ApiRouter, get_with, post_with},
    problem::{Code, Problem},
};
use tokio::time::Instant;

use super::{
    context::RequestContext,
    describe,
    page::{self, Page},
    problems,
};
use crate::{Control, log_turns::REQUEST_TIME, parked};

/// Longest wait for the broker's confirm.
const CONFIRM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/parked",
            get_with(list, |op| {
                let op = describe::operation(op, "parked", "listParked", "List what could not be processed", None);
                describe::answers::<200, describe::PageSchema<Parked>>(describe::paged(op))
            }),
        )
        .api_route(
            "/v1/parked/{id}",
            get_with(show, |op| {
                let op = describe::operation(op, "parked", "getParked", "Show one, with its body", None);
                describe::answers::<200, Parked>(op)
            }),
        )
        .api_route(
            "/v1/parked/{id}/requeue",
            post_with(requeue, |op| {
                let op = describe::operation(op, "parked", "requeueParked", "Publish it again, as it was", None);
                let op = describe::more(
                    op,
                    "An event is routed as the same event, and parked again where its cause is still there; a delivery goes \
                     on with its attempt, whose number it keeps. It stays in the log. Doing it twice at once makes no \
                     second event, and posts a delivery twice under one id.",
                );
                describe::answers::<202, RequeueAnswer>(describe::refuses(op, &[Code::Conflict]))
            }),
        )
}

/// What was published again.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Requeued")]
struct RequeueAnswer {
    /// Its id among what is parked.
    id: String,
    /// The event's.
    event_id: Option<String>,
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let page = Page::of(&request.query(&page::PARAMETERS)?)?;
    // Each record is dropped with its body as soon as it is read.
    let items = parked::records(&*request.control.deps.broker, page.begin()?)
        .map_ok(|record| (record.offset, Parked { id: record.offset.to_string(), ..read_parked(&record) }));
    let (items, next) = page::of_log(items, page.limit, Instant::now() + REQUEST_TIME).await?;
    Ok(page::answer(items, next))
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    request.query(&[])?;
    let found = parked::show(&*request.control.deps.broker, request.path_parameter("id"))
        .await
        .map_err(|_| problems::log_unavailable())?;
    Ok(Json(found.ok_or(Code::NotFound)?).into_response())
}

async fn requeue(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.operator().await?;
    request.query(&[])?;
    let deps = &request.control.deps;
    let record =
        parked::record(&*deps.broker, request.path_parameter("id")).await.map_err(|_| problems::log_unavailable())?;
    let record = record.ok_or(Code::NotFound)?;
    let (to, message) = requeued(&record).map_err(|why| Problem::new(Code::Conflict).detail(why))?;
    let published = request.control.requeue(&record, &to, &message, Some(CONFIRM_TIMEOUT)).await;
    published.map_err(|_| problems::publish_failed())?;
    let event_id = Some(message.id).filter(|id| !id.is_empty());
    tracing::info!(
        parked_id = request.path_parameter("id"),
        event_id,
        author = authorized.author.name,
        "parked.requeued"
    );
    let answer = RequeueAnswer { id: request.path_parameter("id").to_owned(), event_id };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
