//! Everything at once: `apply` makes what is configured what a description says, and `export` writes such a description.

mod decide;
mod differences;
mod export;
mod places;

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    extract::DefaultBodyLimit,
    response::{IntoResponse as _, Response},
};
use decide::Apply;
use schemas::Configuration;
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::TenantSelection;

use super::{
    call::{Call, Input},
    change::Wish,
    describe,
    write::typed,
};
use crate::Control;

/// A hundred thousand subscriptions.
const MAX_BODY: usize = 32 << 20;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let example =
        r#"{"tenants":[{"id":"acme","endpoints":[{"id":"crm","url":"https://crm.example/hooks"}]}],"dry_run":true}"#;
    ApiRouter::new()
        .api_route(
            "/v1/apply",
            post_with(apply, move |op| {
                let op = describe::call(op, "everything", "apply", "Make it what a description says", None);
                let op = describe::more(
                    op,
                    "All or nothing. Secrets that are left out are kept; a source without a token gets one. \
                     `prune` deletes what is not described, tenants included.",
                );
                describe::answers::<200, Applied>(describe::takes::<Requested>(op, example))
            }),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .api_route(
            "/v1/export",
            get_with(export, |op| {
                let op = describe::call(op, "everything", "export", "Describe what is configured", None);
                let text = schemars::json_schema!({"type": "string"});
                let op = describe::parameter(op, "tenant", "Only this one.", text);
                let truth = schemars::json_schema!({"type": "boolean", "default": false});
                let op = describe::parameter(op, "with_secrets", "With all secrets, for a restore.", truth);
                describe::answers::<200, Configuration>(op)
            }),
        )
}

/// A description, and how it is meant.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    tenants: Vec<Value>,
    dry_run: bool,
    prune: bool,
}

/// The same, for the description of the API.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ApplyBody")]
#[expect(dead_code, reason = "described only: what is left out is kept or made, so it is read piece by piece")]
struct Requested {
    /// As in the YAML of the `file:` store.
    tenants: Vec<schemas::Tenant>,
    /// Only say what would be changed.
    dry_run: Option<bool>,
    /// Delete what is not described.
    prune: Option<bool>,
}

/// What was changed, or would be.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Applied {
    /// In the order of tenants, kinds and ids.
    changes: Vec<differences::Difference>,
    /// What was made, shown this once.
    shown_once: Vec<decide::ShownOnce>,
}

async fn apply(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.operator().await?;
    call.query(&[])?;
    let Request { tenants, dry_run, prune } = typed(input.object().await?)?;
    let (control, author) = (&call.control, who.author);
    let snapshot = control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let apply = Apply { tenants, prune, rules: control.deps.rules.clone(), maker: control.maker(), snapshot };
    let wish = Wish { selection: TenantSelection::All, author, dry_run };
    let (shown_once, edited) = control.change(wish, move |draft| apply.decide(draft)).await?;
    let changes = differences::of(&edited.changes);
    let shown_once = if dry_run { Vec::new() } else { shown_once };
    Ok(Json(Applied { changes, shown_once }).into_response())
}

async fn export(call: Call) -> Result<Response, Problem> {
    call.operator().await?;
    let (mut only, mut with_secrets) = (None, false);
    for (name, text) in call.query(&["tenant", "with_secrets"])? {
        match (name.as_str(), text.as_str()) {
            ("tenant", _) => only = Some(text),
            (_, "true" | "false") => with_secrets = text == "true",
            _ => return Err(Problem::new(Code::InvalidParameter).detail("with_secrets: expected true or false")),
        }
    }
    let tenants = match only {
        Some(id) => vec![call.find(|snapshot| snapshot.tenant(&id).cloned()).await?],
        None => {
            let snapshot = call.control.deps.store.snapshot().ok_or(Code::Unavailable)?;
            let mut tenants: Vec<_> = snapshot.tenants().cloned().collect();
            tenants.sort_by(|a, b| a.id.cmp(&b.id));
            tenants
        }
    };
    let tenants: Vec<_> = tenants.iter().map(|tenant| export::tenant(&tenant.to_tenant(), with_secrets)).collect();
    Ok(Json(json!({"tenants": tenants})).into_response())
}
