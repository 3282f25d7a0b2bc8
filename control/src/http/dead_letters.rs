//! Dead letters of a tenant, and of all tenants for the operator: list them, count them, show one with its body, and
//! discard them.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use broker::records::{read_dead_letter, read_dead_letter_with_body};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use schemas::{DeadLetter, DeadReason, EventType, Scope, pattern, time::SINCE_1970};
use serde_json::Value;
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use tokio::time::Instant;

use super::{
    context::{RequestBody, RequestContext},
    counts::{BY, CountBy, Counts},
    dead_letter_selection::DeadLetterSelection,
    describe,
    history::unavailable,
    page::{self, LOG_PARAMETERS, LogPage},
    problems,
};
use crate::{
    Control, DeadLetterFilter, NotStarted,
    dead_letters::{self, DeadLetterSearch, Discarded},
    log_search::Search,
    log_turns::REQUEST_TIME,
};

pub(super) const TAG: &str = "dead letters";

/// Describes the calls that search for dead letters.
pub(super) const ONE_SEARCH: &str = "They are looked through once at a time: 429 while another such call for the tenant is under way. One that takes \
     over 20 s is answered 503; asked again, it goes on from where it was.";

/// Describes what is dead and alive.
const LIVE: &str = "Those that were replayed or discarded since are left out. One that died again after a replay has the `delivery_id` \
     that it had, and a `replay_id`.";

/// Query parameters of the filter.
const FILTER: [&str; 6] = ["ids", "endpoint_id", "reason", "event_type", "since", "until"];
/// Query parameter of the operator's calls.
const TENANT: &str = "tenant";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/dead-letters",
            get_with(list, |op| described_list(op, "listDeadLetters", "List dead letters", Some(Scope::Read))),
        )
        .api_route(
            "/v1/tenants/{tenant}/dead-letters/counts",
            get_with(count, |op| {
                let op = described_counts(op, "countDeadLetters", "Count dead letters", Some(Scope::Read));
                describe::parameter(op, BY, "By what.", json_schema!({"type": "string", "enum": BY_OF_TENANT, "default": "reason"}))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/dead-letters/discard",
            post_with(discard, |op| {
                let summary = "Discard dead letters, or count what would be";
                let op = describe::operation(op, TAG, "discardDeadLetters", summary, Some(Scope::Manage));
                let op = describe::more(op, ONE_SEARCH);
                let op = describe::more(
                    op,
                    "They are neither listed nor replayed any more. The log keeps them until it is full or they are too old. \
                     `discarded` is less than `matched` where the time was over: ask again for the rest. A `dry_run` \
                     discards none.",
                );
                let op = describe::takes::<DiscardBody>(op, r#"{"filter":{"endpoint_id":"crm"},"dry_run":true}"#);
                describe::answers::<200, Discarded>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/dead-letters/{id}",
            get_with(show, |op| {
                let op = describe::operation(op, TAG, "getDeadLetter", "Show a dead letter", Some(Scope::Read));
                describe::answers::<200, DeadLetter>(op)
            }),
        )
        .api_route(
            "/v1/dead-letters",
            get_with(list_of_all, |op| {
                described_tenant(described_list(op, "listAllDeadLetters", "List dead letters of all tenants", None))
            }),
        )
        .api_route(
            "/v1/dead-letters/counts",
            get_with(count_of_all, |op| {
                let op = described_counts(op, "countAllDeadLetters", "Count dead letters of all tenants", None);
                let op =
                    describe::parameter(op, BY, "By what.", json_schema!({"type": "string", "enum": BY_OF_ALL, "default": "reason"}));
                described_tenant(op)
            }),
        )
        .api_route(
            "/v1/dead-letters/{id}",
            get_with(show_of_any, |op| {
                let summary = "Show a dead letter of any tenant";
                describe::answers::<200, DeadLetter>(describe::operation(op, TAG, "getAnyDeadLetter", summary, None))
            }),
        )
}

const BY_OF_TENANT: [&str; 2] = ["reason", "endpoint_id"];
const BY_OF_ALL: [&str; 3] = ["reason", "tenant", "endpoint_id"];

fn described_list(op: Operation, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let op = describe::operation(op, TAG, id, summary, scope);
    let op = describe::more(op, ONE_SEARCH);
    let op = describe::more(op, LIVE);
    describe::answers::<200, describe::PageSchema<DeadLetter>>(filtered(page::described_log(op)))
}

fn described_counts(op: Operation, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let op = describe::operation(op, TAG, id, summary, scope);
    let op = describe::more(op, "Within 20 s; what was not counted until then makes the count `at_least`.");
    let op = describe::more(op, LIVE);
    describe::answers::<200, Counts>(filtered(op))
}

fn described_tenant(op: Operation) -> Operation {
    let about = "Only of this tenant: of the present one of this id, or of one that was deleted.";
    let op = describe::parameter(op, TENANT, about, json_schema!({"type": "string"}));
    describe::refuses(op, &[Code::NotFound])
}

fn filtered(op: Operation) -> Operation {
    let text = || json_schema!({"type": "string"});
    let time = || json_schema!({"type": "string", "format": "date-time", "pattern": SINCE_1970});
    let ids = json_schema!({"type": "array", "items": {"type": "string", "pattern": pattern::POSITION}});
    let reasons: Vec<_> = DeadReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let op = describe::parameter(op, "ids", "Their ids.", ids);
    let op = describe::parameter(op, "endpoint_id", "Where they were to go.", text());
    let op = describe::parameter(op, "reason", "Why they ended.", json_schema!({"type": "string", "enum": reasons}));
    let op = describe::parameter(
        op,
        "event_type",
        "The event's type.",
        EventType::json_schema(&mut SchemaGenerator::default()),
    );
    let op = describe::parameter(op, "since", "Ended then or later.", time());
    describe::parameter(op, "until", "Ended earlier than that.", time())
}

/// A discard, or a count of what one would end.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described only: Selection reads it, and names every mistake")]
struct DiscardBody {
    /// Which dead letters; `{}` is all.
    filter: DeadLetterFilter,
    /// Only count them.
    dry_run: Option<bool>,
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&[&FILTER[..], &LOG_PARAMETERS[..]].concat())?;
    listed(&request, Some(authorized.tenant_id()), &query).await
}

async fn list_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&[&FILTER[..], &LOG_PARAMETERS[..], &[TENANT]].concat())?;
    listed(&request, named_tenant(&query), &query).await
}

async fn listed(
    request: &RequestContext,
    tenant: Option<&str>,
    query: &[(String, String)],
) -> Result<Response, Problem> {
    let (page, filter, until) = (LogPage::of(query)?, filter_of(query)?, Instant::now() + REQUEST_TIME);
    let is_found = |search: &Search<DeadLetterSearch>| page.is_found(search, |_| true);
    let (searched, is_done) = request.control.search_dead_letters(tenant, &filter, until, is_found).await?;
    if !is_done {
        return Err(NotStarted::TooSlow.into());
    }
    let logs = request.control.logs_in_turns();
    let read = if page.has_bodies { read_dead_letter_with_body } else { read_dead_letter };
    let (mut letters, next) = page.read(&searched, &logs, until, |_| true, read).await?;
    withhold_erased(&request.control, &mut letters).await?;
    if letters.is_empty() {
        refuse_unknown(request, tenant).await?;
    }
    Ok(page::answer(letters, next))
}

async fn count(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&[&FILTER[..], &[BY]].concat())?;
    counted(&request, Some(authorized.tenant_id()), &query, &BY_OF_TENANT).await
}

async fn count_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let query = request.query(&[&FILTER[..], &[BY, TENANT]].concat())?;
    counted(&request, named_tenant(&query), &query, &BY_OF_ALL).await
}

async fn counted(
    request: &RequestContext,
    tenant: Option<&str>,
    query: &[(String, String)],
    words: &[&str],
) -> Result<Response, Problem> {
    let (by, filter, until) = (CountBy::of(query, words)?, filter_of(query)?, Instant::now() + REQUEST_TIME);
    let (searched, _) = request.control.search_dead_letters(tenant, &filter, until, CountBy::is_enough).await?;
    if searched.live().is_empty() {
        refuse_unknown(request, tenant).await?;
    }
    Ok(by.count(&searched, |_| true).answer())
}

fn named_tenant(query: &[(String, String)]) -> Option<&str> {
    query.iter().rfind(|(name, _)| name == TENANT).map(|(_, tenant)| tenant.as_str())
}

fn filter_of(query: &[(String, String)]) -> Result<DeadLetterFilter, Problem> {
    let mut filter = DeadLetterFilter::default();
    for (name, text) in query.iter().filter(|(name, _)| FILTER.contains(&name.as_str())) {
        let wrong = |why| Problem::new(Code::InvalidParameter).detail(format!("{name}: {why}"));
        filter.set(name, text).map_err(wrong)?;
    }
    Ok(filter)
}

/// Refuses a tenant of which nothing was found and which does not exist: a deleted one may have dead letters.
async fn refuse_unknown(request: &RequestContext, tenant: Option<&str>) -> Result<(), Problem> {
    let Some(tenant) = tenant else { return Ok(()) };
    let found = request.find(|snapshot| snapshot.tenant(tenant).map(|_| ())).await;
    found.map_err(|problem| match problem.code {
        Code::NotFound => problem.detail(format!("there is no tenant `{tenant}`")),
        _ => problem,
    })
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    shown(&request, Some(authorized.tenant_id())).await
}

async fn show_of_any(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    shown(&request, None).await
}

async fn shown(request: &RequestContext, tenant: Option<&str>) -> Result<Response, Problem> {
    request.query(&[])?;
    let (control, id) = (&request.control, request.path_parameter("id"));
    let since = tenant.map_or(0, |tenant| control.created(tenant));
    let letter = dead_letters::show(&*control.deps.broker, tenant, since, id).await;
    let letter = letter.map_err(|_| problems::log_unavailable())?;
    let none = || Problem::new(Code::NotFound).detail(format!("there is no dead letter `{id}`"));
    let mut letters = [letter.ok_or_else(none)?];
    withhold_erased(control, &mut letters).await?;
    let [letter] = letters;
    Ok(Json(letter).into_response())
}

/// Takes the bodies from dead letters whose contact was erased.
async fn withhold_erased(control: &Control, letters: &mut [DeadLetter]) -> Result<(), Problem> {
    for letter in letters.iter_mut().filter(|letter| letter.body.is_some()) {
        if control.is_erased(&letter.tenant, &letter.event_id).await.map_err(|error| unavailable(&error))? {
            (letter.body, letter.body_withheld) = (None, true);
            if let Some(last) = &mut letter.last {
                last.response_excerpt = None;
            }
        }
    }
    Ok(())
}

async fn discard(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    request.query(&[])?;
    let (control, tenant) = (&request.control, authorized.tenant_id());
    let DeadLetterSelection { filter, dry_run, .. } =
        DeadLetterSelection::read(&Value::Object(body.object().await?), &["filter", "dry_run"])?;
    if dry_run {
        let matched = control.count(tenant, &filter).await?;
        return Ok(Json(Discarded { matched, discarded: 0 }).into_response());
    }
    let Discarded { matched, discarded } = control.discard(tenant, &filter).await?;
    tracing::info!(tenant, matched, discarded, author = authorized.author.name, "dead_letters.discarded");
    if matched > 0 && discarded == 0 {
        return Err(problems::publish_failed());
    }
    Ok(Json(Discarded { matched, discarded }).into_response())
}
