//! Parked messages, for the operator: list them, count them, show one, and publish one again.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use broker::records::{read_parked, read_parked_with_body, requeued};
use schemars::json_schema;
use schemas::{ParkReason, Parked};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use tokio::time::Instant;

use super::{
    context::RequestContext,
    counts::{BY, CountBy, Counts},
    describe,
    page::{self, LOG_PARAMETERS, LogPage},
    problems,
};
use crate::{
    Control, NotStarted,
    log_search::{Origin, Search},
    log_turns::REQUEST_TIME,
    parked::{self, ParkedSearch},
};

/// Longest wait for the broker's confirm.
const CONFIRM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);
const TAG: &str = "parked";
/// Query parameters of the filter.
const FILTER: [&str; 2] = ["tenant", "reason"];
/// Query parameter with which a message is published again that was already.
const AGAIN: &str = "again";
const BY_WORDS: [&str; 2] = ["reason", "tenant"];
/// Describes what is listed and counted.
const WAITING: &str = "What was published again since is left out, and so is what was parked again since.";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/parked",
            get_with(list, |op| {
                let op = describe::operation(op, TAG, "listParked", "List what could not be processed", None);
                let op = describe::more(op, WAITING);
                describe::answers::<200, describe::PageSchema<Parked>>(filtered(page::described_log(op)))
            }),
        )
        .api_route(
            "/v1/parked/counts",
            get_with(count, |op| {
                let op = describe::operation(op, TAG, "countParked", "Count what could not be processed", None);
                let op = describe::more(op, WAITING);
                let by = json_schema!({"type": "string", "enum": BY_WORDS, "default": "reason"});
                describe::answers::<200, Counts>(filtered(describe::parameter(op, BY, "By what.", by)))
            }),
        )
        .api_route(
            "/v1/parked/{id}",
            get_with(show, |op| {
                let op = describe::operation(op, TAG, "getParked", "Show one, with its body", None);
                describe::answers::<200, Parked>(op)
            }),
        )
        .api_route(
            "/v1/parked/{id}/requeue",
            post_with(requeue, |op| {
                let op = describe::operation(op, TAG, "requeueParked", "Publish it again, as it was", None);
                let op = describe::more(
                    op,
                    "An event is routed as the same event, and parked again where its cause is still there; a delivery goes \
                     on with its attempt, whose number it keeps. From then on it is not listed any more. 409 for one that \
                     was published again already, unless the request says `again=true`: that makes no second event, and \
                     posts a delivery twice under one id.",
                );
                let about = "`true`: also one that was published again already.";
                let op = describe::parameter(op, AGAIN, about, json_schema!({"type": "boolean", "default": false}));
                describe::answers::<202, RequeueAnswer>(describe::refuses(op, &[Code::Conflict]))
            }),
        )
}

fn filtered(op: Operation) -> Operation {
    let reasons: Vec<_> = ParkReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let op = describe::parameter(op, "tenant", "The tenant that they name.", json_schema!({"type": "string"}));
    describe::parameter(op, "reason", "Why they were parked.", json_schema!({"type": "string", "enum": reasons}))
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

/// Which parked messages are meant: all that every given field allows.
#[derive(Default)]
struct ParkedFilter {
    tenant: Option<String>,
    reason: Option<ParkReason>,
}

impl ParkedFilter {
    fn of(query: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut filter = Self::default();
        for (name, text) in query {
            match name.as_str() {
                "tenant" => filter.tenant = Some(text),
                "reason" => {
                    let words = ParkReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
                    let wrong =
                        || Problem::new(Code::InvalidParameter).detail(format!("reason: expected one of {words}"));
                    filter.reason = Some(ParkReason::parse(&text).ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(filter)
    }

    fn accepts(&self, origin: &Origin) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == origin.tenant)
            && self.reason.is_none_or(|reason| reason.as_str() == origin.reason)
    }
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&[&FILTER[..], &LOG_PARAMETERS[..]].concat())?;
    let (page, filter, until) = (LogPage::of(&query)?, ParkedFilter::of(query)?, Instant::now() + REQUEST_TIME);
    let is_wanted = |origin: &Origin| filter.accepts(origin);
    let is_found = |search: &Search<ParkedSearch>| page.is_found(search, is_wanted);
    let (searched, is_done) = request.control.search_parked(until, is_found).await?;
    if !is_done {
        return Err(NotStarted::TooSlow.into());
    }
    let logs = request.control.logs_in_turns();
    let read = if page.has_bodies { read_parked_with_body } else { read_parked };
    let (items, next) = page.read(&searched, &logs, until, is_wanted, |record| Some(read(record))).await?;
    Ok(page::answer(items, next))
}

async fn count(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&[&FILTER[..], &[BY]].concat())?;
    let (by, filter) = (CountBy::of(&query, &BY_WORDS)?, ParkedFilter::of(query)?);
    let (searched, _) = request.control.search_parked(Instant::now() + REQUEST_TIME, CountBy::is_enough).await?;
    Ok(by.count(&searched, |origin| filter.accepts(origin)).answer())
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    request.query(&[])?;
    let id = request.path_parameter("id");
    let found = parked::show(&*request.control.deps.broker, id).await.map_err(|_| problems::log_unavailable())?;
    Ok(Json(found.ok_or_else(|| nothing_parked(id))?).into_response())
}

fn nothing_parked(id: &str) -> Problem {
    Problem::new(Code::NotFound).detail(format!("nothing is parked under `{id}`"))
}

async fn requeue(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.operator().await?;
    let query = request.query(&[AGAIN])?;
    let again = query.last().map_or(Ok(false), |(name, text)| page::flag(name, text))?;
    let (control, id) = (&request.control, request.path_parameter("id"));
    let record = parked::record(&*control.deps.broker, id).await.map_err(|_| problems::log_unavailable())?;
    let record = record.ok_or_else(|| nothing_parked(id))?;
    let (to, message) = requeued(&record).map_err(|why| Problem::new(Code::Conflict).detail(why))?;
    // What was found is kept until the end, so that no other request of this process publishes it meanwhile.
    let mut _searched = None;
    if !again {
        let has_read = |search: &Search<ParkedSearch>| search.has_read(record.offset);
        let (searched, is_done) = control.search_parked(Instant::now() + REQUEST_TIME, has_read).await?;
        if !is_done {
            return Err(NotStarted::TooSlow.into());
        }
        if !searched.live().contains_key(&record.offset) {
            let why = "it was published again already, or its delivery was parked again since: \"again=true\" does it \
                       anyway";
            return Err(Problem::new(Code::Conflict).detail(why));
        }
        _searched = Some(searched);
    }
    let published = control.requeue(&record, &to, &message, Some(CONFIRM_TIMEOUT)).await;
    published.map_err(|_| problems::publish_failed())?;
    let event_id = Some(message.id).filter(|id| !id.is_empty());
    tracing::info!(parked_id = id, event_id, author = authorized.author.name, "parked.requeued");
    Ok((StatusCode::ACCEPTED, Json(RequeueAnswer { id: id.to_owned(), event_id })).into_response())
}
