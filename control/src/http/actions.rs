//! What can be done with an endpoint besides writing it: switch on and off, cancel what waits. Rotations are a file apart.

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemas::{DeadReason, Endpoint, EndpointState, Scope, time::Moment};
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{Draft, Edited};

use super::{
    call::{Call, Input, Who},
    change::{self, Wish},
    crud::{as_stored, with_tag},
    denied, describe,
    resource::{Resource, shown},
    tag::Conditions,
};
use crate::{
    Control, Filter,
    settings::{Made, Object},
};

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let at = |path: &str| format!("/v1/tenants/{{tenant}}/endpoints/{{id}}/{path}");
    ApiRouter::new()
        .api_route(
            &at("enable"),
            post_with(enable, |op| {
                let op = described(op, "endpoints", "enableEndpoint", "Post to an endpoint again");
                let op = describe::more(
                    op,
                    "What ended meanwhile as dead letters `endpoint_disabled` stays there until it is replayed.",
                );
                describe::answers::<200, describe::Enabled<Endpoint>>(op)
            }),
        )
        .api_route(
            &at("disable"),
            post_with(disable, |op| {
                let op = described(op, "endpoints", "disableEndpoint", "Post to an endpoint no more");
                let op = describe::more(
                    op,
                    "Its deliveries become dead letters `endpoint_disabled`, which can be replayed.",
                );
                let op = describe::may_take::<Reason>(op, r#"{"reason":"moving house"}"#);
                describe::answers::<200, Endpoint>(op)
            }),
        )
        .api_route(
            &at("cancel"),
            post_with(cancel, |op| {
                let op = described(op, "endpoints", "cancelEndpoint", "Cancel all that waits for an endpoint");
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
                let op = describe::call(op, "endpoints", id, summary, Some(Scope::Read));
                describe::answers::<200, Waits>(op)
            }),
        )
}

/// What every action says of itself.
pub(super) fn described<'t>(
    op: aide::transform::TransformOperation<'t>,
    tag: &str,
    id: &str,
    summary: &str,
) -> aide::transform::TransformOperation<'t> {
    describe::conditional(describe::call(op, tag, id, summary, Some(Scope::Manage)))
}

/// Why an endpoint is disabled.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Reason {
    /// As shown.
    reason: Option<String>,
}

/// What was cancelled.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only")]
struct Cancelled {
    /// Until when (RFC 3339).
    cancelled_before: Moment,
    /// How many wait; null where nobody can know.
    waiting: Option<u64>,
    /// How that is known: `exactly` or `estimated`.
    counted: Option<String>,
}

/// What waits.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only")]
struct Waits {
    /// How many; null where nobody can know.
    waiting: Option<u64>,
    /// How that is known: `exactly` or `estimated`.
    counted: Option<String>,
}

/// What became of something that was acted on.
pub(super) struct Acted {
    shown: Object,
    /// Shown with it, this once.
    made: Made,
    version: Option<u64>,
    edited: Edited,
}

impl Acted {
    fn version(&self) -> Option<u64> {
        if self.edited.changes.is_empty() { self.version } else { Some(self.edited.revision) }
    }

    /// The thing as it is now.
    pub(super) fn answer(self) -> Response {
        let version = self.version();
        let shown = as_stored(self.edited.changes.first(), self.shown, self.made);
        with_tag(Json(shown).into_response(), version)
    }
}

/// Changes one thing; what `act` returns is shown with it, this once.
pub(super) async fn act<R: Resource>(
    call: &Call,
    who: &Who,
    act: impl FnOnce(&mut R) -> Result<Made, Problem> + Send + 'static,
) -> Result<Acted, Problem> {
    call.query(&[])?;
    let (tenant, id, conditions) =
        (who.tenant_id().to_owned(), call.part("id").to_owned(), Conditions::of(call.headers()));
    let decide = move |draft: &mut Draft| {
        let version = draft.version(&tenant, R::KIND, &id);
        let list = R::list(change::tenant(draft, &tenant)?);
        let item = list.iter_mut().find(|item| item.id() == id).ok_or(Code::NotFound)?;
        conditions.check(Some(version))?;
        let made = act(item)?;
        Ok((shown(item), made, version))
    };
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let ((shown, made, version), edited) = call.control.change(wish, decide).await?;
    Ok(Acted { shown, made, version, edited })
}

async fn enable(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let acted = act(&call, &who, |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Active, None);
        Ok(Made::new())
    });
    let mut acted = acted.await?;
    acted.made.insert("replayable".to_owned(), replayable(&call, &who).await);
    Ok(acted.answer())
}

/// What ended while an endpoint was disabled. That it cannot be read must not make the change look as if it had failed.
async fn replayable(call: &Call, who: &Who) -> Value {
    let (tenant, id, reason) = (who.tenant_id(), call.part("id"), DeadReason::EndpointDisabled);
    let filter = Filter { endpoint_id: Some(id.to_owned()), reason: Some(reason), ..Filter::default() };
    let count = call.control.count(tenant, &filter).await.ok();
    let mut offer = json!({"dead_letters": count, "filter": filter});
    if let Some(count @ 1..) = count {
        let command = format!("carteiro dead-letters replay --tenant {tenant} --endpoint-id {id} --reason {reason}");
        offer["detail"] =
            json!(format!("{count} of its deliveries ended while it was disabled. To replay them: {command}"));
    }
    offer
}

async fn disable(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let Reason { reason } = super::write::typed(input.object_or_nothing().await?)?;
    let acted = act(&call, &who, move |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Disabled, reason);
        Ok(Made::new())
    });
    Ok(acted.await?.answer())
}

async fn cancel(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let now = Moment((call.control.deps.clock)());
    let acted = act(&call, &who, move |endpoint: &mut Endpoint| {
        endpoint.cancelled_before = Some(now);
        Ok(Made::new())
    });
    let version = acted.await?.version();
    // How many there are is said if it can be; that it is not known must not make the cancel look as if it had failed.
    let waiting = call.control.waiting(who.tenant_id(), call.part("id")).await.ok().flatten();
    let mut answer = json!({"cancelled_before": now});
    answer["waiting"] = waiting.map_or(Value::Null, |waiting| waiting.waiting.into());
    answer["counted"] = waiting.map_or(Value::Null, |waiting| json!(waiting.counted));
    Ok(with_tag(Json(answer).into_response(), version))
}

async fn waiting(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    call.query(&[])?;
    let (tenant, id) = (who.tenant_id(), call.part("id"));
    call.find(|snapshot| snapshot.endpoint(tenant, id).map(|_| ())).await?;
    let waiting = call.control.waiting(tenant, id).await.map_err(|_| denied::unreadable())?;
    Ok(match waiting {
        Some(waiting) => Json(waiting).into_response(),
        None => Json(json!({"waiting": null, "counted": null})).into_response(),
    })
}
