//! Replays: start or count, watch, stop.

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemas::Scope;
use serde_json::{Value, json};
use service::problem::{Code, Problem};

use super::{
    call::{Call, Input},
    describe,
    letters::ONE_LOOK,
    request::ReplayRequest,
};
use crate::{Control, Job, JobState};

const TAG: &str = "dead letters";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/replays",
            post_with(start, |op| {
                let op = describe::call(
                    op,
                    TAG,
                    "startReplay",
                    "Replay dead letters, or count what would be",
                    Some(Scope::Manage),
                );
                let op = describe::more(op, ONE_LOOK);
                let op = describe::takes::<Requested>(op, r#"{"filter":{"endpoint_id":"crm"},"dry_run":false}"#);
                describe::answers::<202, Replay>(describe::answers::<200, Matched>(op))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/replays/{id}",
            get_with(show, |op| {
                describe::answers::<200, Replay>(describe::call(
                    op,
                    TAG,
                    "getReplay",
                    "Watch a replay",
                    Some(Scope::Read),
                ))
            })
            .delete_with(stop, |op| {
                describe::answers::<200, Replay>(describe::call(
                    op,
                    TAG,
                    "stopReplay",
                    "Stop a replay",
                    Some(Scope::Manage),
                ))
            }),
        )
}

/// What is asked for, for the description.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ReplayBody")]
#[expect(dead_code, reason = "described only: ReplayRequest reads it, and names every mistake")]
struct Requested {
    /// Which dead letters; `{}` is all.
    filter: Option<Filter>,
    /// Only count them.
    dry_run: Option<bool>,
    /// So many a second, at most.
    rate_per_second: Option<f64>,
}

/// Which dead letters are meant: all that every given field allows.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "DeadLetterFilter")]
#[expect(dead_code, reason = "described only: crate::Filter reads it, from JSON and from queries")]
struct Filter {
    /// Their ids.
    ids: Option<Vec<String>>,
    /// Where they were to go.
    endpoint_id: Option<String>,
    /// Why they ended.
    reason: Option<schemas::DeadReason>,
    /// The event's type.
    event_type: Option<String>,
    /// Ended then (RFC 3339) or later.
    since: Option<String>,
    /// Ended earlier than that (RFC 3339).
    until: Option<String>,
}

/// How many there are.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only")]
struct Matched {
    /// So many would be replayed.
    matched: u64,
}

/// A replay.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only: Job writes itself")]
struct Replay {
    /// A UUIDv7.
    id: String,
    /// `running`, `done` or `stopped`.
    state: String,
    /// How many there were at its start.
    matched: u64,
    /// How many were published again so far.
    replayed: u64,
    /// Which.
    filter: Filter,
}

async fn start(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let (control, tenant) = (call.control.clone(), who.tenant_id().to_owned());
    let ReplayRequest { filter, dry_run, rate } = ReplayRequest::read(&Value::Object(input.object().await?))?;
    if dry_run {
        let matched = control.count(&tenant, &filter).await?;
        return Ok(Json(json!({"matched": matched})).into_response());
    }
    let job = control.start_replay(&tenant, filter, rate).await?;
    tracing::info!(replay_id = job.id, tenant, matched = job.matched, author = who.author.name, "replay.started");
    Ok((StatusCode::ACCEPTED, Json(&*job)).into_response())
}

async fn show(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    Ok(Json(&*find(&call.control, who.tenant_id(), call.part("id"))?).into_response())
}

async fn stop(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let job = find(&call.control, who.tenant_id(), call.part("id"))?;
    job.end(JobState::Stopped);
    Ok(Json(&*job).into_response())
}

fn find(control: &Control, tenant: &str, id: &str) -> Result<Arc<Job>, Problem> {
    control.jobs.get(tenant, id).ok_or_else(|| Problem::new(Code::NotFound))
}
