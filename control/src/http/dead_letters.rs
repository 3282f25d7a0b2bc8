//! Dead letters of a tenant: list them, and show one with its body.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use broker::records::read_dead_letter;
use futures_util::TryStreamExt as _;
use schemars::json_schema;
use schemas::{DeadLetter, DeadReason, Scope};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use tokio::time::Instant;

use super::{
    context::RequestContext,
    describe,
    page::{self, Page},
    problems,
};
use crate::{Control, DeadLetterFilter, dead_letters, log_turns::REQUEST_TIME};

/// Describes the calls that search for dead letters.
pub(super) const ONE_SEARCH: &str = "All of them are looked through, once at a time: 429 while another such call for the tenant is under way. \
     One that takes over 20 s is answered 503; asked again, it goes on from where it was.";

/// Query parameters of the filter.
const FILTER: [&str; 6] = ["ids", "endpoint_id", "reason", "event_type", "since", "until"];

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/dead-letters",
            get_with(list, |op| {
                let op =
                    describe::operation(op, "dead letters", "listDeadLetters", "List dead letters", Some(Scope::Read));
                let op = describe::more(op, ONE_SEARCH);
                let op = describe::more(op, "In the order in which they ended, without their bodies. A page may have fewer than `limit` and still a `next`.");
                describe::answers::<200, describe::PageSchema<DeadLetter>>(filtered(describe::paged(op)))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/dead-letters/{id}",
            get_with(show, |op| {
                let op =
                    describe::operation(op, "dead letters", "getDeadLetter", "Show a dead letter", Some(Scope::Read));
                describe::answers::<200, DeadLetter>(op)
            }),
        )
}

fn filtered(op: Operation) -> Operation {
    let text = || json_schema!({"type": "string"});
    let time = || json_schema!({"type": "string", "format": "date-time"});
    let reasons: Vec<_> = DeadReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let op = describe::parameter(op, "ids", "Their ids; may be repeated.", text());
    let op = describe::parameter(op, "endpoint_id", "Where they were to go.", text());
    let op = describe::parameter(op, "reason", "Why they ended.", json_schema!({"type": "string", "enum": reasons}));
    let op = describe::parameter(op, "event_type", "The event's type.", text());
    let op = describe::parameter(op, "since", "Ended then or later.", time());
    describe::parameter(op, "until", "Ended earlier than that.", time())
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&[&FILTER[..], &page::PARAMETERS[..]].concat())?;
    let page = Page::of(&query)?;
    let begin = page.begin()?;
    let mut filter = DeadLetterFilter::default();
    for (name, text) in query.iter().filter(|(name, _)| FILTER.contains(&name.as_str())) {
        let wrong = |why| Problem::new(Code::InvalidParameter).detail(format!("{name}: {why}"));
        filter.set(name, text).map_err(wrong)?;
    }
    let until = Instant::now() + REQUEST_TIME;
    let (live, _permit) = request.control.search(authorized.tenant_id(), &filter).await?;
    let logs = request.control.logs_in_turns();
    // Each record is dropped with its body as soon as its letter is read.
    let letters = live.records(&logs, begin).map_ok(|record| (record.offset, read_dead_letter(&record)));
    let (letters, next) = page::of_log(letters, page.limit, until).await?;
    Ok(page::answer(letters.into_iter().flatten().collect(), next))
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let logs = &*request.control.deps.broker;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter("id"));
    let letter = dead_letters::show(logs, Some(tenant), request.control.created(tenant), id).await;
    let letter = letter.map_err(|_| problems::log_unavailable())?.ok_or(Code::NotFound)?;
    Ok(Json(letter).into_response())
}
