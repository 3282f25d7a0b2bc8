//! Replays: start one or count what it would replay, list them, watch one, stop it.

mod history;
mod shapes;

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use schemas::Scope;
use serde_json::{Map, Value};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use store::{Job, JobQuery, JobState};

use self::{
    history::start_from_history,
    shapes::{Matched, ReplayAnswer, ReplayBody, Started},
};
use super::{
    context::{RequestBody, RequestContext},
    dead_letter_selection::DeadLetterSelection,
    dead_letters::{ONE_SEARCH, TAG},
    describe,
    page::{self, Page},
};
use crate::{
    Control, NotStarted,
    replays::{DEAD_LETTERS, REPLAY, ReplayView},
};

/// Describes which replays are listed.
const KEPT: &str = "Newest first, whichever process has started them. Those that have ended are kept for 30 days, the last 200 of a tenant.";

/// Describes what a restart means.
const GOES_ON: &str =
    "It goes on when `control` is started anew, and sends nothing twice beyond the 100 that were under way.";

/// Describes what happens to dead letters whose replay would end at once.
const NO_RECEIVER: &str = "Those for endpoints that are disabled or do not exist are skipped and stay; 409 when there are no others. An endpoint \
     that was deleted and made anew gets those of the former one only if the filter has its `endpoint_id`.";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/replays",
            post_with(start, |op| {
                let op = describe::operation(
                    op,
                    TAG,
                    "startReplay",
                    "Replay dead letters, or count what would be",
                    Some(Scope::Manage),
                );
                let op = describe::more(describe::more(op, ONE_SEARCH), GOES_ON);
                let op = describe::refuses(describe::more(op, NO_RECEIVER), &[Code::Conflict]);
                let op = describe::takes::<ReplayBody>(op, r#"{"filter":{"endpoint_id":"crm"},"dry_run":false}"#);
                describe::answers::<202, ReplayAnswer>(describe::answers::<200, Matched>(op))
            })
            .get_with(list, |op| {
                described_list(describe::operation(op, TAG, "listReplays", "List replays", Some(Scope::Read)))
            }),
        )
        .api_route(
            "/v1/replays",
            get_with(list_of_all, |op| {
                described_list(describe::operation(op, TAG, "listAllReplays", "List replays of all tenants", None))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/replays/{id}",
            get_with(show, |op| {
                describe::answers::<200, ReplayAnswer>(describe::operation(
                    op,
                    TAG,
                    "getReplay",
                    "Watch a replay",
                    Some(Scope::Read),
                ))
            })
            .delete_with(stop, |op| {
                describe::answers::<200, ReplayAnswer>(describe::operation(
                    op,
                    TAG,
                    "stopReplay",
                    "Stop a replay",
                    Some(Scope::Manage),
                ))
            }),
        )
}

fn described_list(op: Operation) -> Operation {
    describe::answers::<200, describe::PageSchema<ReplayAnswer>>(describe::paged(describe::more(op, KEPT)))
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let tenant = authorized.tenant_id();
    listed(&request, Some((tenant, request.control.created(tenant)))).await
}

async fn list_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    listed(&request, None).await
}

async fn listed(request: &RequestContext, tenant: Option<(&str, u64)>) -> Result<Response, Problem> {
    let Page { limit, after } = Page::of(&request.query(&page::PARAMETERS)?)?;
    let control = &request.control;
    // What this process knows is read first: what is stored is at least as new once it has forgotten a job.
    let progress = control.jobs.progress();
    let at_most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let query = JobQuery { kind: REPLAY, tenant, before: after.as_deref(), limit: at_most };
    let mut jobs = control.control_state().map_err(NotStarted::from)?.jobs(query).await.map_err(NotStarted::from)?;
    let is_more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| is_more).map(|last| page::cursor(&last.id));
    let items: Vec<_> = jobs.iter().map(|job| ReplayView::of(job, progress.get(&job.id))).collect();
    Ok(page::answer(items, next))
}

async fn start(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let (control, tenant) = (request.control.clone(), authorized.tenant_id().to_owned());
    let mut body = body.object().await?;
    let started = match body.remove("from") {
        Some(Value::String(from)) if from == "history" => {
            let snapshot = authorized.tenant.as_ref().ok_or(Code::NotFound)?;
            start_from_history(&control, snapshot, &body).await?
        }
        None | Some(Value::Null) => start_of_dead_letters(&control, &tenant, body).await?,
        Some(Value::String(from)) if from == DEAD_LETTERS => start_of_dead_letters(&control, &tenant, body).await?,
        Some(_) => {
            return Err(Problem::new(Code::InvalidBody).error("/from", "expected dead_letters or history"));
        }
    };
    let job = match started {
        Started::Job(job) => job,
        Started::Counted(matched) => return Ok(Json(matched).into_response()),
    };
    tracing::info!(
        replay_id = job.id,
        tenant,
        matched = job.matched,
        author = authorized.author.name,
        "replay.started"
    );
    Ok((StatusCode::ACCEPTED, Json(ReplayView::of(&job, None))).into_response())
}

async fn start_of_dead_letters(
    control: &Arc<Control>,
    tenant: &str,
    body: Map<String, Value>,
) -> Result<Started, Problem> {
    let fields = ["filter", "dry_run", "rate_per_second"];
    if body.get("to_endpoint_id").is_some_and(|to| !to.is_null()) {
        let wrong = Problem::new(Code::InvalidBody);
        return Err(wrong.error("/to_endpoint_id", "only with \"from\": \"history\", which renders events anew"));
    }
    let body = body.into_iter().filter(|(name, _)| name != "to_endpoint_id").collect();
    let DeadLetterSelection { filter, dry_run, rate } = DeadLetterSelection::read(&Value::Object(body), &fields)?;
    if dry_run {
        let matched = control.count(tenant, &filter).await?;
        return Ok(Started::Counted(Matched { matched, at_least: false }));
    }
    Ok(Started::Job(control.start_replay(tenant, filter, rate).await?))
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    shown(&request.control, authorized.tenant_id(), request.path_parameter("id")).await
}

async fn stop(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let (control, tenant, id) = (&request.control, authorized.tenant_id(), request.path_parameter("id"));
    let job = find(control, tenant, id).await?;
    control.end_job(&job, JobState::Stopped).await.map_err(NotStarted::from)?;
    shown(control, tenant, id).await
}

async fn shown(control: &Control, tenant: &str, id: &str) -> Result<Response, Problem> {
    // In this order, as in a list.
    let progress = control.jobs.progress();
    let job = find(control, tenant, id).await?;
    Ok(Json(ReplayView::of(&job, progress.get(id))).into_response())
}

async fn find(control: &Control, tenant: &str, id: &str) -> Result<Job, Problem> {
    let none = || Problem::new(Code::NotFound).detail(format!("there is no replay `{id}` of tenant `{tenant}`"));
    let job = control.control_state().map_err(NotStarted::from)?.job(id).await.map_err(NotStarted::from)?;
    let whose =
        |job: &Job| (job.kind == REPLAY) && job.tenant == tenant && job.tenant_created == control.created(tenant);
    job.filter(whose).ok_or_else(none)
}
