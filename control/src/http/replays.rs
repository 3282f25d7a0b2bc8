//! Replays over HTTP: start or count, watch, stop.

mod denied;
mod request;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use schemas::Scope;
use serde_json::{Value, json};
use service::{
    http::bearer,
    problem::{Code, Problem},
};
use store::{Caller, admit};

use crate::{Control, Job, JobState, role::NotStarted};
use request::ReplayRequest;

/// A filter with every id of a large log would be longer; such a one is better said by its other fields.
const MAX_BODY: usize = 1 << 20;

/// What control serves, to be merged with what else the process serves.
pub fn routes(control: Arc<Control>) -> Router {
    Router::new()
        .route("/v1/tenants/{tenant}/replays", post(start))
        .route("/v1/tenants/{tenant}/replays/{id}", get(show).delete(stop))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

async fn start(
    State(control): State<Arc<Control>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Problem> {
    let caller = allow(&control, &headers, &tenant, Scope::Manage).await?;
    let ReplayRequest { filter, dry_run, rate } = ReplayRequest::read(&body?.0)?;
    if dry_run {
        let matched = control.count(&tenant, &filter).await.map_err(NotStarted::Unread)?;
        return Ok(Json(json!({"matched": matched})).into_response());
    }
    let job = control.start_replay(&tenant, filter, rate).await?;
    tracing::info!(job = job.id, tenant, ?caller, "replay.requested");
    Ok((StatusCode::ACCEPTED, Json(&*job)).into_response())
}

async fn show(
    State(control): State<Arc<Control>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    allow(&control, &headers, &tenant, Scope::Read).await?;
    Ok(Json(&*find(&control, &tenant, &id)?).into_response())
}

async fn stop(
    State(control): State<Arc<Control>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    allow(&control, &headers, &tenant, Scope::Manage).await?;
    let job = find(&control, &tenant, &id)?;
    job.end(JobState::Stopped);
    Ok(Json(&*job).into_response())
}

async fn allow(control: &Control, headers: &HeaderMap, tenant: &str, scope: Scope) -> Result<Caller, Problem> {
    let world = &control.world;
    let access = admit(&*world.store, world.operator, bearer(headers), tenant, scope).await;
    access.map(|access| access.caller).map_err(|denied| denied::problem(&denied))
}

fn find(control: &Control, tenant: &str, id: &str) -> Result<Arc<Job>, Problem> {
    control.jobs.get(tenant, id).ok_or_else(|| Problem::new(Code::NotFound))
}
