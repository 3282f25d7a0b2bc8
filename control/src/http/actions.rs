//! Actions on an endpoint besides writing it: enable, disable, cancel, and count the deliveries that wait for it.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use schemas::{DeadReason, Endpoint, EndpointState, Scope, time::Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use store::{Draft, Edited};

use super::{
    conditions::Conditions,
    context::{Authorization, RequestBody, RequestContext},
    describe,
    edit::{self, EditRequest},
    item_routes, problems,
    resource::Resource,
    tenant_item::TenantItem,
    write::{Written, respond, typed, with_version},
};
use crate::{BacklogCount, Control, CountMethod, DeadLetterFilter, settings::Object};

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let at = |path: &str| format!("/v1/tenants/{{tenant}}/endpoints/{{id}}/{path}");
    ApiRouter::new()
        .api_route(
            &at("enable"),
            post_with(enable, |op| {
                let op = operation(op, "endpoints", "enableEndpoint", "Post to an endpoint again");
                let op = describe::more(
                    op,
                    "What ended meanwhile as dead letters `endpoint_disabled` stays there until it is replayed.",
                );
                describe::answers::<200, item_routes::EnabledEndpoint<Endpoint>>(op)
            }),
        )
        .api_route(
            &at("disable"),
            post_with(disable, |op| {
                let op = operation(op, "endpoints", "disableEndpoint", "Post to an endpoint no more");
                let op = describe::more(
                    op,
                    "Its deliveries become dead letters `endpoint_disabled`, which can be replayed.",
                );
                let op = describe::may_take::<DisableBody>(op, r#"{"reason":"moving house"}"#);
                describe::answers::<200, Endpoint>(op)
            }),
        )
        .api_route(
            &at("cancel"),
            post_with(cancel, |op| {
                let op = operation(op, "endpoints", "cancelEndpoint", "Cancel all that waits for an endpoint");
                let op = describe::more(
                    op,
                    "What was accepted until now ends as dead letters `cancelled`, each when its turn comes.",
                );
                describe::answers::<200, Cancelled>(op)
            }),
        )
        .api_route(
            &at("waiting"),
            get_with(waiting, |op| {
                let (id, summary) = ("countWaiting", "How much waits for an endpoint");
                let op = describe::operation(op, "endpoints", id, summary, Some(Scope::Read));
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

pub(super) struct Acted {
    id: String,
    written: Written,
    edited: Edited,
}

impl Acted {
    /// Answers with the item as it is now, and with fields that are shown only this once.
    pub(super) fn respond<T: TenantItem>(self) -> Response {
        respond::<T>(&self.id, self.written, &self.edited)
    }

    fn version(&self) -> Option<u64> {
        if self.edited.changes.is_empty() { self.written.version } else { Some(self.edited.revision) }
    }
}

/// Changes the item of the path. The fields that `act` returns are shown with it, only this once.
pub(super) async fn act<T: TenantItem>(
    request: &RequestContext,
    authorized: &Authorization,
    act: impl FnOnce(&mut T) -> Result<Object, Problem> + Send + 'static,
) -> Result<Acted, Problem> {
    request.query(&[])?;
    let (tenant, conditions) = (authorized.tenant_id().to_owned(), Conditions::of(request.headers()));
    let id = request.path_parameter("id").to_owned();
    let item_id = id.clone();
    let decide = move |draft: &mut Draft| {
        let version = draft.version(&tenant, T::KIND, &item_id);
        let list = T::list_mut(edit::tenant(draft, &tenant)?);
        let item = list.iter_mut().find(|item| item.id() == item_id).ok_or(Code::NotFound)?;
        conditions.check(Some(version))?;
        let shown_once = act(item)?;
        Ok(Written { shown: item.shown(), shown_once, is_new: false, version })
    };
    let edit = EditRequest::of_tenant(authorized.tenant_id(), authorized.author.clone());
    let (written, edited) = request.control.edit(edit, decide).await?;
    Ok(Acted { id, written, edited })
}

async fn enable(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let acted = act(&request, &authorized, |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Active, None);
        Ok(Object::new())
    });
    let mut acted = acted.await?;
    acted.written.shown_once.insert("replayable".to_owned(), replayable(&request, &authorized).await);
    Ok(acted.respond::<Endpoint>())
}

/// Counts the dead letters that an endpoint got while it was disabled. A failed count must not make the request look
/// failed: the endpoint is enabled already.
async fn replayable(request: &RequestContext, authorized: &Authorization) -> Value {
    let (tenant, id, reason) = (authorized.tenant_id(), request.path_parameter("id"), DeadReason::EndpointDisabled);
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

async fn disable(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let DisableBody { reason } = typed(body.object_or_nothing().await?)?;
    let acted = act(&request, &authorized, move |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Disabled, reason);
        Ok(Object::new())
    });
    Ok(acted.await?.respond::<Endpoint>())
}

async fn cancel(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let now = Moment((request.control.deps.clock)());
    let acted = act(&request, &authorized, move |endpoint: &mut Endpoint| {
        endpoint.cancelled_before = Some(now);
        Ok(Object::new())
    });
    let version = acted.await?.version();
    // A failed count must not make the request look failed: the deliveries are cancelled already.
    let count = request.control.backlog(authorized.tenant_id(), request.path_parameter("id")).await.ok().flatten();
    let Backlog { waiting, counted } = count.into();
    let cancelled = Cancelled { cancelled_before: now, waiting, counted };
    Ok(with_version(Json(cancelled).into_response(), version))
}

async fn waiting(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter("id"));
    request.find(|snapshot| snapshot.endpoint(tenant, id).map(|_| ())).await?;
    let count = request.control.backlog(tenant, id).await.map_err(|error| problems::not_counted(&error))?;
    Ok(Json(Backlog::from(count)).into_response())
}
