//! Rotations: a new token, key or signing secret replaces the current one, which stays valid for a while.

use std::sync::Arc;

use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use schemas::{Endpoint, Key, KeyHash, Rotation, Scope, Secret, Signature, SourceConfig, Span, signature::SigningKey};
use serde::Deserialize;
use service::{
    openapi::{ApiRouter, post_with},
    problem::{Code, Problem},
};

use super::{
    actions::{HasEndpoint, act, operation},
    context::{RequestBody, RequestContext},
    describe, endpoints, item_routes, keys, sources,
    tenant_item::item_mut,
    write::{no_randomness, typed},
};
use crate::Control;

/// The rotation of the signing secrets of what owns an endpoint.
pub(crate) fn of_secrets<R: HasEndpoint>() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        &format!("{}/secrets/rotate", R::PATH),
        post_with(rotate_secret::<R>, |op| {
            let (id, summary) = (format!("rotate{}Secret", R::OPERATION), format!("Rotate the secret of {}", R::NAME));
            let op = describe::more(
                operation(op, R::TAG, &id, &summary),
                "Requests are signed with a new secret, and for the overlap with those before as well. What was not signed \
                 is signed from now on.",
            );
            let op = describe::may_take::<RotateSecret>(op, EXAMPLE);
            describe::answers::<200, item_routes::WithShownOnce<R>>(op)
        }),
    )
}

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/sources/{id}/token/rotate",
            post_with(rotate_token, |op| {
                let op = operation(op, "sources", "rotateToken", "Give a source a new token");
                let op = describe::more(op, TWO_AT_MOST);
                let op = describe::may_take::<Rotate>(op, EXAMPLE);
                describe::answers::<200, item_routes::WithShownOnce<SourceConfig>>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/keys/{id}/rotate",
            post_with(rotate_key, |op| {
                let op = operation(op, "keys", "rotateKey", "Replace a key");
                let op = describe::more(op, TWO_AT_MOST);
                let op = describe::may_take::<Rotate>(op, EXAMPLE);
                describe::answers::<200, item_routes::WithShownOnce<Key>>(op)
            }),
        )
}

const TWO_AT_MOST: &str = "The one before stays valid for the overlap; one that was retiring already ends now.";
const EXAMPLE: &str = r#"{"overlap":"24h"}"#;

/// How a rotation is meant.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Rotate {
    /// How long the one before stays valid: `"0s"` ends it at once, and more than 30 days are refused.
    #[schemars(schema_with = "overlap_schema")]
    overlap: Span,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { overlap: Rotation::OVERLAP }
    }
}

/// How a rotation of a signing secret is meant.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RotateSecret {
    /// How long those before stay valid: `"0s"` ends them at once, and more than 30 days are refused.
    #[schemars(schema_with = "overlap_schema")]
    overlap: Span,
    /// What the signatures are from now on; as they were where it is left out.
    signature: Option<Signature>,
}

impl Default for RotateSecret {
    fn default() -> Self {
        Self { overlap: Rotation::OVERLAP, signature: None }
    }
}

fn overlap_schema(generator: &mut SchemaGenerator) -> Schema {
    Span::schema_between(generator, Span::seconds(0), Rotation::LONGEST_OVERLAP)
}

fn rotation(request: &RequestContext, overlap: Span) -> Result<Rotation, Problem> {
    if overlap > Rotation::LONGEST_OVERLAP {
        return Err(Problem::new(Code::InvalidBody).error("/overlap", "must be at most 30d"));
    }
    Ok(Rotation { now: (request.control.deps.clock)(), overlap })
}

async fn rotate_secret<R: HasEndpoint>(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let RotateSecret { overlap, signature } = typed(body.object_or_nothing().await?)?;
    let rotation = rotation(&request, overlap)?;
    let seed = (request.control.deps.secrets)().map_err(no_randomness)?;
    let acted = act(&request, &authorized, move |tenant, resource: &R| {
        let endpoint = item_mut::<Endpoint>(tenant, resource.endpoint_id())?;
        endpoint.signature = signature.unwrap_or(endpoint.signature);
        let secret = SigningKey::write(endpoint.signature, seed);
        let shown_once = endpoints::shown_once(endpoint.signature, &secret);
        endpoint.rotate(Secret::from(secret), rotation);
        Ok(shown_once)
    });
    Ok(acted.await?.respond())
}

async fn rotate_token(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let Rotate { overlap } = typed(body.object_or_nothing().await?)?;
    let rotation = rotation(&request, overlap)?;
    let token = request.control.generator().token().map_err(no_randomness)?;
    let acted = act(&request, &authorized, move |tenant, source: &SourceConfig| {
        item_mut::<SourceConfig>(tenant, &source.id)?.rotate(Secret::from(token.clone()), rotation);
        Ok(sources::shown_once(&token))
    });
    Ok(acted.await?.respond())
}

async fn rotate_key(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let Rotate { overlap } = typed(body.object_or_nothing().await?)?;
    let rotation = rotation(&request, overlap)?;
    let key = request.control.generator().key().map_err(no_randomness)?;
    let own = authorized.scopes.clone();
    let acted = act(&request, &authorized, move |tenant, stored: &Key| {
        keys::check_granted(&stored.scopes, own.as_deref())?;
        item_mut::<Key>(tenant, &stored.id)?.rotate(KeyHash::of(&key), rotation);
        Ok(keys::shown_once(key))
    });
    Ok(acted.await?.respond())
}
