//! Configures everything at once: `apply` makes the configuration what a description says, and `export` writes such a
//! description.

mod decide;
mod differences;
mod export;
mod positions;

use std::sync::Arc;

use axum::{
    Json,
    extract::DefaultBodyLimit,
    response::{IntoResponse as _, Response},
};
use decide::Apply;
use schemas::{Endpoint, HistoryRetention, Key, Quota, SourceConfig, Subscription, Warning};
use serde_json::{Value, json};
use service::{
    openapi::{ApiRouter, get_with, post_with},
    problem::{Code, Problem},
};
use store::TenantSelection;

use super::{
    context::{RequestBody, RequestContext},
    describe,
    edit::EditRequest,
    shapes::DescribedResource,
    write::typed,
};
use crate::Control;

/// Largest size of a description, in bytes: a hundred thousand subscriptions fit.
const MAX_BODY: usize = 32 << 20;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let example =
        r#"{"tenants":[{"id":"acme","endpoints":[{"id":"crm","url":"https://crm.example/hooks"}]}],"dry_run":true}"#;
    ApiRouter::new()
        .api_route(
            "/v1/apply",
            post_with(apply, move |op| {
                let op = describe::operation(op, "configuration", "applyConfiguration", "Apply a description", None);
                let op = describe::more(
                    op,
                    "Makes the configuration what the description says, all or nothing. Secrets that are left out are kept; a source without a token gets one. \
                     `prune` deletes what is not described, tenants included.",
                );
                let op = describe::strict(describe::refuses(op, &[Code::Conflict, Code::QuotaReached]));
                describe::answers::<200, ApplyAnswer>(describe::takes::<ApplyBody>(op, example))
            }),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .api_route(
            "/v1/export",
            get_with(export, |op| {
                let op = describe::operation(op, "configuration", "exportConfiguration", "Export the configuration", None);
                let text = schemars::json_schema!({"type": "string"});
                let op = describe::parameter(op, "tenant", "Exports only the tenant of this id.", text);
                let truth = schemars::json_schema!({"type": "boolean", "default": false});
                let op = describe::parameter(op, "with_secrets", "True: with all secrets, as a restore needs them. Otherwise they are left out.", truth);
                describe::answers::<200, Exported>(describe::refuses(op, &[Code::NotFound]))
            }),
        )
}

/// A description with its options. Each tenant stays JSON until it is read field by field, because fields that it
/// leaves out are kept or generated.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyRequest {
    tenants: Vec<Value>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    prune: bool,
    tenant: Option<String>,
}

/// A description of tenants, with options.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described only: ApplyRequest reads it, piece by piece")]
struct ApplyBody {
    /// The tenants, each with all that belongs to it, as in the YAML of the `file:` store.
    tenants: Vec<DescribedTenant>,
    /// True: only says what would be changed.
    #[schemars(default)]
    dry_run: bool,
    /// True: also deletes what is not described, tenants included.
    #[schemars(default)]
    prune: bool,
    /// Change only this tenant: a description of another one is refused, and `prune` deletes nothing of others.
    #[schemars(regex(pattern = schemas::pattern::ID))]
    tenant: Option<String>,
}

/// A tenant with all that belongs to it.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described only: the tenant is read piece by piece")]
struct DescribedTenant {
    /// Id of the tenant.
    #[schemars(regex(pattern = schemas::pattern::ID))]
    id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Limits of what the tenant may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    /// How long history is kept, where that is shorter than for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<HistoryRetention>,
    /// Endpoints that deliveries are posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<DescribedResource<Endpoint>>>,
    /// Subscriptions, which say what is posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscriptions: Option<Vec<DescribedResource<Subscription>>>,
    /// Sources, where vendors' webhooks come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<DescribedResource<SourceConfig>>>,
    /// Keys of programs that may act for the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<DescribedResource<Key>>>,
}

/// A description of what is configured.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only: the answer is made of each tenant's JSON")]
struct Exported {
    /// The tenants, each with all that belongs to it, without what is as by default.
    tenants: Vec<DescribedTenant>,
}

/// What was changed, or would be.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Applied")]
struct ApplyAnswer {
    /// In the order of tenants, kinds and ids.
    changes: Vec<differences::Difference>,
    /// Secrets that were made, which are shown this once.
    shown_once: Vec<decide::ShownOnce>,
    /// What is probably a mistake in what is described, at most 100 of it. Left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<Warning>,
}

async fn apply(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.operator().await?;
    let strictness = request.strictness()?;
    let ApplyRequest { tenants, dry_run, prune, tenant: only } = typed(body.object().await?)?;
    let control = &request.control;
    let snapshot = control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let (rules, generator) = (control.deps.rules.clone(), control.generator());
    let apply = Apply { tenants, prune, strictness, only, rules, generator, snapshot };
    let edit = EditRequest { selection: TenantSelection::All, author: authorized.author, dry_run };
    let ((shown_once, warnings), edited) = control.edit(edit, move |draft| apply.decide(draft)).await?;
    let shown_once = if dry_run { Vec::new() } else { shown_once };
    let changes = differences::differences(&edited.changes);
    Ok(Json(ApplyAnswer { changes, shown_once, warnings }).into_response())
}

async fn export(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let (mut only, mut with_secrets) = (None, false);
    for (name, text) in request.query(&["tenant", "with_secrets"])? {
        match (name.as_str(), text.as_str()) {
            ("tenant", _) => only = Some(text),
            (_, "true" | "false") => with_secrets = text == "true",
            _ => return Err(Problem::new(Code::InvalidParameter).detail("with_secrets: expected true or false")),
        }
    }
    let tenants = match only {
        Some(id) => vec![request.find(|snapshot| snapshot.tenant(&id).cloned()).await?],
        None => {
            let snapshot = request.control.deps.store.snapshot().ok_or(Code::Unavailable)?;
            let mut tenants: Vec<_> = snapshot.tenants().cloned().collect();
            tenants.sort_by(|a, b| a.id.cmp(&b.id));
            tenants
        }
    };
    let tenants: Vec<_> = tenants.iter().map(|tenant| export::describe(&tenant.to_tenant(), with_secrets)).collect();
    Ok(Json(json!({"tenants": tenants})).into_response())
}
