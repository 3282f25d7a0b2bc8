//! New tokens, keys and signing secrets in the place of those there are, which stay valid for a while.

use std::sync::Arc;

use aide::axum::{ApiRouter, routing::post_with};
use axum::response::Response;
use schemas::{Endpoint, Key, KeyHash, Rotation, Scope, Secret, Signature, SourceConfig, Span, signature::SigningKey};
use serde_json::Value;
use service::problem::{Code, Problem};

use super::{
    actions::{act, described},
    call::{Call, Input},
    describe, endpoints, keys,
    resource::no_chance,
    sources,
    write::typed,
};
use crate::Control;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/endpoints/{id}/secrets/rotate",
            post_with(rotate_secret, |op| {
                let op = described(op, "endpoints", "rotateSecret", "Sign with a new secret");
                let op = describe::more(
                    op,
                    "Those before stay valid for the overlap: requests are signed with all of them.",
                );
                let op = describe::may_take::<RotateSecret>(op, OVERLAP);
                describe::answers::<200, describe::Made<Endpoint>>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/sources/{id}/token/rotate",
            post_with(rotate_token, |op| {
                let op = described(op, "sources", "rotateToken", "Give a source a new token");
                let op = describe::more(op, BOTH);
                let op = describe::may_take::<Rotate>(op, OVERLAP);
                describe::answers::<200, describe::Made<SourceConfig>>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/keys/{id}/rotate",
            post_with(rotate_key, |op| {
                let op = described(op, "keys", "rotateKey", "Replace a key");
                let op = describe::more(op, BOTH);
                let op = describe::may_take::<Rotate>(op, OVERLAP);
                describe::answers::<200, describe::Made<Key>>(op)
            }),
        )
}

/// Of a token and a key, of which there are two at most.
const BOTH: &str = "The one before stays valid for the overlap; one that was retiring already ends now.";
/// How it is asked for.
const OVERLAP: &str = r#"{"overlap":"24h"}"#;

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

/// How a rotation of a signing secret is meant.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RotateSecret {
    /// How long those before stay valid: `"0s"` ends them at once, and more than 30 days are refused.
    overlap: Span,
    /// What the endpoint's signatures are from now on; as they were where it is left out.
    signature: Option<Signature>,
}

impl Default for RotateSecret {
    fn default() -> Self {
        Self { overlap: Rotation::OVERLAP, signature: None }
    }
}

/// The rotation that a body asks for, beginning now.
async fn rotation(call: &Call, input: Input) -> Result<Rotation, Problem> {
    let Rotate { overlap } = typed(input.object_or_nothing().await?)?;
    beginning(call, overlap)
}

fn beginning(call: &Call, overlap: Span) -> Result<Rotation, Problem> {
    if overlap > Rotation::LONGEST_OVERLAP {
        return Err(Problem::new(Code::InvalidBody).error("/overlap", "must be at most 30d"));
    }
    Ok(Rotation { now: (call.control.deps.clock)(), overlap })
}

async fn rotate_secret(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    let RotateSecret { overlap, signature } = typed(input.object_or_nothing().await?)?;
    let rotation = beginning(&call, overlap)?;
    let seed = (call.control.deps.secrets)().map_err(no_chance)?;
    let acted = act(&call, &who, move |endpoint: &mut Endpoint| {
        endpoint.signature = signature.unwrap_or(endpoint.signature);
        let secret = SigningKey::write(endpoint.signature, seed);
        let shown = endpoints::shown_once(endpoint.signature, &secret);
        endpoint.rotate(Secret::from(secret), rotation);
        Ok(shown)
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
