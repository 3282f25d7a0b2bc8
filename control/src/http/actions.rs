//! What can be done with an endpoint, a source or a key besides writing it: switch on and off, cancel what waits, rotate.

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemas::{Endpoint, EndpointState, Key, KeyHash, Rotation, Scope, Secret, SourceConfig, Span, time::Moment};
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{Draft, Edited};

use super::{
    call::{Call, Input, Who},
    change::{self, Wish},
    crud::with_tag,
    denied, describe, keys,
    resource::{Resource, no_chance, shown},
    sources,
    tag::Conditions,
};
use crate::{Control, settings::Made};

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let at = |path: &str| format!("/v1/tenants/{{tenant}}/endpoints/{{id}}/{path}");
    ApiRouter::new()
        .api_route(
            &at("enable"),
            post_with(enable, |op| {
                let op = described(op, "endpoints", "enableEndpoint", "Post to an endpoint again");
                describe::answers::<200, Endpoint>(op)
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
                let op = describe::takes::<Reason>(op, r#"{"reason":"moving house"}"#);
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
        .api_route(
            &at("secrets/rotate"),
            post_with(rotate_secret, |op| {
                let op = described(op, "endpoints", "rotateSecret", "Sign with a new secret");
                let op = describe::more(
                    op,
                    "Those before stay valid for the overlap: requests are signed with all of them.",
                );
                let op = describe::takes::<Rotate>(op, OVERLAP);
                describe::answers::<200, describe::Made<Endpoint>>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/sources/{id}/token/rotate",
            post_with(rotate_token, |op| {
                let op = described(op, "sources", "rotateToken", "Give a source a new token");
                let op = describe::more(op, BOTH);
                let op = describe::takes::<Rotate>(op, OVERLAP);
                describe::answers::<200, describe::Made<SourceConfig>>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/keys/{id}/rotate",
            post_with(rotate_key, |op| {
                let op = described(op, "keys", "rotateKey", "Replace a key");
                let op = describe::more(op, BOTH);
                let op = describe::takes::<Rotate>(op, OVERLAP);
                describe::answers::<200, describe::Made<Key>>(op)
            }),
        )
}

/// Of a token and a key, of which there are two at most.
const BOTH: &str = "The one before stays valid for the overlap; one that was retiring already ends now.";
/// How it is asked for.
const OVERLAP: &str = r#"{"overlap":"24h"}"#;

fn described<'t>(
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
struct Acted {
    shown: Made,
    version: Option<u64>,
    edited: Edited,
}

impl Acted {
    fn changed(&self) -> bool {
        !self.edited.changes.is_empty()
    }

    fn version(&self) -> Option<u64> {
        if self.changed() { Some(self.edited.revision) } else { self.version }
    }

    fn answer(self) -> Response {
        let version = self.version();
        with_tag(Json(self.shown).into_response(), version)
    }
}

/// Changes one thing; what `act` returns is shown with it, this once.
async fn act<R: Resource>(
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
        let mut shown = shown(item);
        shown.extend(made);
        Ok((shown, version))
    };
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let ((shown, version), edited) = call.control.change(wish, decide).await?;
    Ok(Acted { shown, version, edited })
}

async fn enable(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let acted = act(&call, &who, |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Active, None);
        Ok(Made::new())
    });
    Ok(acted.await?.answer())
}

async fn disable(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let Reason { reason } = super::write::typed(input.object_or_nothing().await?)?;
    let why = reason.clone();
    let acted = act(&call, &who, move |endpoint: &mut Endpoint| {
        (endpoint.state, endpoint.disabled_reason) = (EndpointState::Disabled, why);
        Ok(Made::new())
    });
    let acted = acted.await?;
    if acted.changed() {
        let (tenant, id, revision) = (who.tenant_id(), call.part("id"), acted.edited.revision);
        call.control.endpoint_disabled(tenant, id, revision, reason.as_deref());
    }
    Ok(acted.answer())
}

async fn cancel(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let now = Moment((call.control.world.clock)());
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

/// How a rotation is meant.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Rotate {
    /// How long the one before stays valid: `"0s"` ends it at once, and more than 30 days are refused.
    overlap: Span,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { overlap: Rotation::OVERLAP }
    }
}

/// The rotation that a body asks for, beginning now.
async fn rotation(call: &Call, input: Input) -> Result<Rotation, Problem> {
    let Rotate { overlap } = super::write::typed(input.object_or_nothing().await?)?;
    if overlap > Rotation::LONGEST_OVERLAP {
        return Err(Problem::new(Code::InvalidBody).error("/overlap", "must be at most 30d"));
    }
    Ok(Rotation { now: (call.control.world.clock)(), overlap })
}

async fn rotate_secret(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let rotation = rotation(&call, input).await?;
    let secret = call.control.maker().signing_secret().map_err(no_chance)?;
    let acted = act(&call, &who, move |endpoint: &mut Endpoint| {
        endpoint.rotate(Secret::from(secret.clone()), rotation);
        Ok([("secret".to_owned(), Value::from(secret))].into_iter().collect())
    });
    Ok(acted.await?.answer())
}

async fn rotate_token(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let rotation = rotation(&call, input).await?;
    let token = call.control.maker().token().map_err(no_chance)?;
    let acted = act(&call, &who, move |source: &mut SourceConfig| {
        source.rotate(Secret::from(token.clone()), rotation);
        Ok(sources::shown_once(&token))
    });
    Ok(acted.await?.answer())
}

async fn rotate_key(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let rotation = rotation(&call, input).await?;
    let key = call.control.maker().key().map_err(no_chance)?;
    let own = who.scopes.clone();
    let acted = act(&call, &who, move |stored: &mut Key| {
        keys::within(&stored.scopes, own.as_deref())?;
        stored.rotate(KeyHash::of(&key), rotation);
        Ok([("key".to_owned(), Value::from(key))].into_iter().collect())
    });
    Ok(acted.await?.answer())
}
