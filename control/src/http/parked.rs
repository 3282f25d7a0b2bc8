//! What is parked, for the operator: look at it, and publish it again.

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use broker::{
    Deadline, publish_until_confirmed,
    records::{read_parked_with_body, requeued},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use schemas::Parked;
use serde_json::json;
use service::problem::{Code, Problem};

use super::{
    call::Call,
    denied, describe,
    page::{self, Page},
};
use crate::{Control, parked};

/// How long an answer waits for the broker's confirm.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/parked",
            get_with(list, |op| {
                let op = describe::call(op, "parked", "listParked", "List what could not be processed", None);
                describe::answers::<200, describe::Page<Parked>>(describe::paged(op))
            }),
        )
        .api_route(
            "/v1/parked/{id}",
            get_with(show, |op| {
                let op = describe::call(op, "parked", "getParked", "Show one, with its body", None);
                describe::answers::<200, Parked>(op)
            }),
        )
        .api_route(
            "/v1/parked/{id}/requeue",
            post_with(requeue, |op| {
                let op = describe::call(op, "parked", "requeueParked", "Publish it again, as it was", None);
                let op = describe::more(
                    op,
                    "It stays in the log, and is the same event: doing it twice makes no second one.",
                );
                describe::answers::<202, Requeued>(op)
            }),
        )
}

/// What was published again.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only")]
struct Requeued {
    /// Its id among what is parked.
    id: String,
    /// The event's.
    event_id: Option<String>,
}

async fn list(call: Call) -> Result<Response, Problem> {
    call.operator().await?;
    let Page { limit, after } = Page::of(&call.query(&page::PARAMETERS)?)?;
    let begin =
        after.map_or(Ok(0), |last| last.parse::<u64>().map(|last| last + 1).map_err(|_| page::wrong_cursor()))?;
    let records = parked::records(&*call.control.deps.broker, begin).take(limit + 1).try_collect::<Vec<_>>();
    let mut records = records.await.map_err(|_| denied::unreadable())?;
    let is_more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| is_more).map(|last| page::cursor(&last.offset.to_string()));
    let items: Vec<_> = records.iter().map(|record| Parked { body: None, ..read_parked_with_body(record) }).collect();
    Ok(page::answer(items, next))
}

async fn show(call: Call) -> Result<Response, Problem> {
    call.operator().await?;
    call.query(&[])?;
    let found = parked::show(&*call.control.deps.broker, call.part("id")).await.map_err(|_| denied::unreadable())?;
    Ok(Json(found.ok_or(Code::NotFound)?).into_response())
}

async fn requeue(call: Call) -> Result<Response, Problem> {
    let who = call.operator().await?;
    call.query(&[])?;
    let deps = &call.control.deps;
    let record = parked::record(&*deps.broker, call.part("id")).await.map_err(|_| denied::unreadable())?;
    let record = record.ok_or(Code::NotFound)?;
    let (to, message) = requeued(&record).map_err(|why| Problem::new(Code::Conflict).detail(why))?;
    let deadline = Deadline { stop: deps.stop.clone(), limit: Some(PATIENCE) };
    let published = publish_until_confirmed(&*deps.broker, &to, &message, deadline).await;
    published.map_err(|_| denied::unpublished())?;
    let event_id = Some(message.id).filter(|id| !id.is_empty());
    tracing::info!(parked_id = call.part("id"), event_id, author = who.author.name, "parked.requeued");
    Ok((StatusCode::ACCEPTED, Json(json!({"id": call.part("id"), "event_id": event_id}))).into_response())
}
