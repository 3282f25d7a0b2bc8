//! Actions on endpoints, and on the views that own one: enable, disable, pause, cancel, and count the deliveries that wait.
//!
//! An action means the same for all of them. A disabled or paused one posts nothing until it is enabled: what is for it ends
//! or waits. An enabled one posts, whatever stopped it: a person, a 410, or a box that was not ticked.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use schemas::{DeadReason, Endpoint, EndpointState, Scope, Subscription, Tenant, time::Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use store::{Draft, Edited, ItemKind, Snapshot};

use super::{
    conditions::Conditions,
    context::{Authorization, RequestBody, RequestContext},
    describe,
    edit::{self, EditRequest},
    item_routes, problems,
    resource::{Resource, version_of},
    tenant_item::item_mut,
    write::{Written, respond, typed, with_change},
};
use crate::{BacklogCount, Control, CountMethod, DeadLetterFilter, settings::Object};

/// A resource whose deliveries go to one endpoint, which the actions concern.
pub(crate) trait HasEndpoint: Resource {
    /// Path of one of these resources. The paths of its actions begin with it.
    const PATH: &'static str;
    const TAG: &'static str;
    /// Part of the ids of its operations.
    const OPERATION: &'static str;
    /// Name in the summaries of its operations.
    const NAME: &'static str;

    fn endpoint_id(&self) -> &str;
}

/// The actions on a resource that owns its endpoint.
pub(crate) fn routes<R: HasEndpoint>() -> ApiRouter<Arc<Control>> {
    let at = |path: &str| format!("{}/{path}", R::PATH);
    let (operation_of, name) = (R::OPERATION, R::NAME);
    ApiRouter::new()
        .api_route(
            &at("enable"),
            post_with(enable::<R>, |op| {
                let op = operation(op, R::TAG, &format!("enable{operation_of}"), &format!("Enable {name}"));
                let op = describe::more(
                    op,
                    "Its deliveries are posted again, whatever stopped them: `state` is active, and a channel's `enabled` is \
                     true. What waited while it was paused goes out within two minutes, or five where very much waits. What \
                     ended meanwhile as dead letters `endpoint_disabled` stays there until it is replayed.",
                );
                describe::answers::<200, item_routes::Enabled<R>>(op)
            }),
        )
        .api_route(
            &at("disable"),
            post_with(disable::<R>, |op| {
                let op = operation(op, R::TAG, &format!("disable{operation_of}"), &format!("Disable {name}"));
                let op = describe::more(
                    op,
                    "Nothing is posted until it is enabled: its deliveries, those that wait and those to come, end as dead \
                     letters `endpoint_disabled`, which can be replayed.",
                );
                let op = describe::may_take::<DisableBody>(op, r#"{"reason":"moving house"}"#);
                describe::answers::<200, R>(op)
            }),
        )
        .api_route(
            &at("pause"),
            post_with(pause::<R>, |op| {
                let op = operation(op, R::TAG, &format!("pause{operation_of}"), &format!("Pause {name}"));
                let op = describe::more(
                    op,
                    "Nothing is posted until it is enabled: its deliveries, those that wait and those to come, wait and do \
                     not expire. Each gets at least one attempt afterwards. Beyond `max_backlog`, further ones end as dead \
                     letters `overflow`. Attempts under way are not interrupted.",
                );
                describe::answers::<200, R>(op)
            }),
        )
        .api_route(
            &at("cancel"),
            post_with(cancel::<R>, |op| {
                let (id, summary) = (format!("cancel{operation_of}"), format!("Cancel all that waits for {name}"));
                let op = describe::more(
                    operation(op, R::TAG, &id, &summary),
                    "What was accepted until now ends as dead letters `cancelled`, each when its turn comes.",
                );
                describe::answers::<200, Cancelled>(op)
            }),
        )
        .api_route(
            &at("waiting"),
            get_with(waiting::<R>, |op| {
                let (id, summary) = (format!("count{operation_of}Waiting"), format!("How much waits for {name}"));
                let op = describe::operation(op, R::TAG, &id, &summary, Some(Scope::Read));
                describe::answers::<200, Backlog>(op)
            }),
        )
}

/// Describes an action on one item, which needs the scope `manage` and respects conditions.
pub(super) fn operation(op: Operation, tag: &str, id: &str, summary: &str) -> Operation {
    describe::conditional(describe::operation(op, tag, id, summary, Some(Scope::Manage)))
}

/// Why an endpoint is disabled.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Reason")]
struct DisableBody {
    /// As shown.
    reason: Option<String>,
}

/// What was cancelled.
#[derive(Serialize, JsonSchema)]
struct Cancelled {
    /// Deliveries that were accepted until this time (RFC 3339) are not made any more.
    cancelled_before: Moment,
    /// How many wait; null where nobody can know.
    waiting: Option<u64>,
    /// How that is known: `exactly` or `estimated`.
    #[schemars(with = "Option<String>")]
    counted: Option<CountMethod>,
}

/// What waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Waits")]
struct Backlog {
    /// How many; null where nobody can know.
    waiting: Option<u64>,
    /// How that is known: `exactly` or `estimated`.
    #[schemars(with = "Option<String>")]
    counted: Option<CountMethod>,
}

impl From<Option<BacklogCount>> for Backlog {
    fn from(count: Option<BacklogCount>) -> Self {
        Self { waiting: count.map(|count| count.waiting), counted: count.map(|count| count.counted) }
    }
}

pub(super) struct Acted<R> {
    id: String,
    /// The resource as it is now.
    resource: R,
    written: Written,
    edited: Edited,
}

impl<R: Resource> Acted<R> {
    /// Answers with the resource as it is now, and with fields that are shown only this once.
    pub(super) fn respond(self) -> Response {
        respond::<R>(&self.id, self.written, &self.edited)
    }
}

/// Changes the tenant that has the resource of the path. The fields that `act` returns are shown with the resource, only
/// this once.
pub(super) async fn act<R: Resource>(
    request: &RequestContext,
    authorized: &Authorization,
    act: impl FnOnce(&mut Tenant, &R) -> Result<Object, Problem> + Send + 'static,
) -> Result<Acted<R>, Problem> {
    request.query(&[])?;
    let (tenant_id, conditions) = (authorized.tenant_id().to_owned(), Conditions::of(request.headers())?);
    let id = request.path_parameter(R::PATH_ID).to_owned();
    let resource_id = id.clone();
    let decide = move |draft: &mut Draft| {
        let found = R::find(edit::tenant(draft, &tenant_id)?, &resource_id).ok_or(Code::NotFound)?;
        let version = version_of(&found, |kind, id| draft.version(&tenant_id, kind, id));
        conditions.check(Some(version))?;
        let tenant = edit::tenant(draft, &tenant_id)?;
        let shown_once = act(tenant, &found)?;
        let changed = R::find(tenant, &resource_id).ok_or(Code::NotFound)?;
        let written = Written { shown: changed.shown(), shown_once, warnings: Vec::new(), is_new: false, version };
        Ok((changed, written))
    };
    let edit = EditRequest::of_tenant(authorized.tenant_id(), authorized.author.clone());
    let ((resource, written), edited) = request.control.edit(edit, decide).await?;
    Ok(Acted { id, resource, written, edited })
}

/// Makes every item of a resource active: its endpoint, and the subscription that it owns.
async fn enable<R: HasEndpoint>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let acted = act(&request, &authorized, |tenant, resource: &R| {
        for (kind, id) in resource.items() {
            if kind == ItemKind::Subscription {
                item_mut::<Subscription>(tenant, id)?.enabled = true;
            }
        }
        let endpoint = item_mut::<Endpoint>(tenant, resource.endpoint_id())?;
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Active, None);
        Ok(Object::new())
    });
    let mut acted = acted.await?;
    let replayable = replayable(&request, authorized.tenant_id(), acted.resource.endpoint_id()).await;
    acted.written.shown_once.insert("replayable".to_owned(), replayable);
    Ok(acted.respond())
}

/// Counts the dead letters that an endpoint got while it was disabled. A failed count must not make the request look
/// failed: the endpoint is enabled already.
async fn replayable(request: &RequestContext, tenant: &str, id: &str) -> Value {
    let reason = DeadReason::EndpointDisabled;
    let filter =
        DeadLetterFilter { endpoint_id: Some(id.to_owned()), reason: Some(reason), ..DeadLetterFilter::default() };
    let count = request.control.count(tenant, &filter).await.ok();
    let mut offer = json!({"dead_letters": count, "filter": filter});
    if let Some(count @ 1..) = count {
        let command = format!("carteiro dead-letters replay --tenant {tenant} --endpoint-id {id} --reason {reason}");
        offer["detail"] =
            json!(format!("{count} of its deliveries ended while it was disabled. To replay them: {command}"));
    }
    offer
}

async fn disable<R: HasEndpoint>(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let DisableBody { reason } = typed(body.object_or_nothing().await?)?;
    let acted = act(&request, &authorized, move |tenant, resource: &R| {
        let endpoint = item_mut::<Endpoint>(tenant, resource.endpoint_id())?;
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Disabled, reason);
        Ok(Object::new())
    });
    Ok(acted.await?.respond())
}

async fn pause<R: HasEndpoint>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let acted = act(&request, &authorized, |tenant, resource: &R| {
        let endpoint = item_mut::<Endpoint>(tenant, resource.endpoint_id())?;
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Paused, None);
        Ok(Object::new())
    });
    Ok(acted.await?.respond())
}

async fn cancel<R: HasEndpoint>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let now = Moment((request.control.deps.clock)());
    let acted = act(&request, &authorized, move |tenant, resource: &R| {
        item_mut::<Endpoint>(tenant, resource.endpoint_id())?.cancelled_before = Some(now);
        Ok(Object::new())
    });
    let acted = acted.await?;
    // A failed count must not make the request look failed: the deliveries are cancelled already.
    let count = request.control.backlog(authorized.tenant_id(), acted.resource.endpoint_id()).await.ok().flatten();
    let Backlog { waiting, counted } = count.into();
    let cancelled = Cancelled { cancelled_before: now, waiting, counted };
    Ok(with_change(Json(cancelled).into_response(), acted.written.version, &acted.edited))
}

async fn waiting<R: HasEndpoint>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter(R::PATH_ID));
    let found = |snapshot: &Snapshot| R::in_snapshot(snapshot.tenant(tenant)?, id);
    let resource = request.find(found).await?;
    let count = request.control.backlog(tenant, resource.endpoint_id()).await;
    Ok(Json(Backlog::from(count.map_err(|error| problems::not_counted(&error))?)).into_response())
}
