//! Integrations: a URL that queues are bound to, as on WHAZING's screen of integrations.

use std::sync::Arc;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use schemas::{Endpoint, EndpointState, Format, FormatOptions, Scope, Secret, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::ItemKind;

use super::{
    call::{Call, Input},
    change::Wish,
    describe,
    owned::{INTEGRATION, QUEUE, STATE, owned_id, platform_id, put_endpoint, remove_endpoint, whazing},
    page::{self, Page},
    resource::Resource as _,
    tag::Conditions,
    views::{self, View, Write},
    write::Manner,
};
use crate::{
    Control,
    settings::{Field, Focus, Object, Reveal, Rules},
};

/// What is escaped in a segment of a path: all but the unreserved characters (RFC 3986, 2.3).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const EXAMPLE: &str = r#"{"name":"Bot","url":"https://n8n.example/webhook/2","n8n_api_key":"its key"}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let call = describe::call;
    let tag = "integrations";
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/integrations",
            get_with(list, move |op| {
                let op = call(op, tag, "listIntegrations", "List integrations", Some(Scope::Read));
                describe::answers::<200, describe::Page<Integration>>(describe::paged(op))
            })
            .merge(post_with(create, move |op| {
                let op = call(op, tag, "createIntegration", "Create integration", Some(Scope::Manage));
                describe::answers::<201, Integration>(describe::takes::<Integration>(op, EXAMPLE))
            })),
        )
        .api_route(
            "/v1/tenants/{tenant}/integrations/{id}",
            get_with(views::show::<Integration>, move |op| {
                let op = call(op, tag, "getIntegration", "Show integration", Some(Scope::Read));
                describe::answers::<200, Integration>(op)
            })
            .put_with(views::replace::<Integration>, move |op| {
                let op = call(op, tag, "putIntegration", "Create or replace integration", Some(Scope::Manage));
                let op = describe::conditional(describe::takes::<Integration>(op, EXAMPLE));
                describe::answers::<201, Integration>(describe::answers::<200, Integration>(op))
            })
            .patch_with(views::patch::<Integration>, move |op| {
                let op = call(op, tag, "patchIntegration", "Change integration", Some(Scope::Manage));
                let op = describe::takes_patch::<Integration>(op, r#"{"url":"https://n8n.example/webhook/3"}"#);
                describe::answers::<200, Integration>(describe::conditional(op))
            })
            .delete_with(views::delete::<Integration>, move |op| {
                let op = call(op, tag, "deleteIntegration", "Delete integration", Some(Scope::Manage));
                let op = describe::more(op, "409 while queues are bound to it.");
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

/// An integration.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Integration {
    /// Its id, as in the path; made where it is left out.
    #[serde(default)]
    id: String,
    /// As shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `http` or `https`; without user or password.
    url: String,
    /// Sent as `X-N8N-API-KEY`, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n8n_api_key: Option<Secret>,
    /// The shape of what is sent.
    #[serde(default = "whazing")]
    format: Format,
    /// Fine points of the shape.
    #[serde(default)]
    format_options: FormatOptions,
    /// Read only, and passed over in a body. Disabled: nothing is posted, by `POST …/endpoints/integration-<id>/disable` or
    /// because the receiver answered 410; `enable` there ends that.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    state: EndpointState,
    /// Why it is disabled. Read only, and passed over in a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    disabled_reason: Option<String>,
}

impl Reveal for Integration {
    fn reveal_into(&self, object: &mut Object) {
        if let Some(key) = &self.n8n_api_key {
            object.insert("n8n_api_key".to_owned(), key.reveal().into());
        }
    }
}

impl View for Integration {
    const PREFIX: &'static str = INTEGRATION;
    const PART: &'static str = "id";
    const KINDS: &'static [ItemKind] = &[ItemKind::Endpoint];
    const KEPT: &'static [Field] = &[Field::One("n8n_api_key")];
    const DERIVED: &'static [&'static str] = &STATE;

    fn of(tenant: &Tenant, id: &str) -> Option<Self> {
        let owned = owned_id(INTEGRATION, id);
        tenant
            .endpoints
            .iter()
            .find(|endpoint| endpoint.id == owned)
            .map(|endpoint| Self::shown(id.to_owned(), endpoint))
    }

    fn put(self, tenant: &mut Tenant, id: &str, rules: &Rules) -> Result<Focus, Problem> {
        let url = self.url;
        let index = put_endpoint(tenant, &owned_id(INTEGRATION, id), &url, rules, |endpoint| {
            (endpoint.name, endpoint.n8n_api_key) = (self.name, self.n8n_api_key);
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
        })?;
        Ok(Focus { kind: ItemKind::Endpoint, index })
    }

    fn remove(tenant: &mut Tenant, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let owned = owned_id(INTEGRATION, id);
        let bound = tenant.subscriptions.iter().filter(|one| one.endpoint_id == owned);
        let queues: Vec<_> = bound.filter_map(|one| platform_id(QUEUE, &one.id)).collect();
        if !queues.is_empty() {
            let detail = format!("queues are bound to it: {}", queues.join(", "));
            return Err(Problem::new(Code::Conflict).detail(detail));
        }
        Ok(remove_endpoint(tenant, &owned))
    }
}

impl Integration {
    fn shown(id: String, endpoint: &Endpoint) -> Self {
        Self {
            id,
            name: endpoint.name.clone(),
            url: endpoint.url.clone(),
            n8n_api_key: endpoint.n8n_api_key.clone(),
            format: endpoint.format,
            format_options: endpoint.format_options,
            state: endpoint.state,
            disabled_reason: endpoint.disabled_reason.clone(),
        }
    }
}

async fn create(call: Call, input: Input) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let conditions = Conditions::of(call.headers());
    let body = input.object().await?;
    let id = match body.get("id") {
        None | Some(Value::Null) => {
            let tenant = who.tenant.clone();
            let is_taken = |id: &str| {
                tenant.as_ref().is_some_and(|tenant| tenant.endpoints.contains_key(&owned_id(INTEGRATION, id)))
            };
            call.control.maker().integration_id(is_taken)
        }
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(_) => return Err(Problem::new(Code::InvalidBody).error("/id", "expected a text")),
    };
    // Everything that a path might read otherwise: a platform's id may have any letter.
    let path = format!("{}/{}", call.path(), utf8_percent_encode(&id, &SEGMENT));
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let (tenant, rules) = (who.tenant_id().to_owned(), call.control.deps.rules.clone());
    let write = Write { tenant, id, manner: Manner::Create, body, conditions, rules };
    views::carry_out::<Integration>(&call, wish, write, path).await
}

async fn list(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    let page = Page::of(&call.query(&page::PARAMETERS)?)?;
    let Some(tenant) = &who.tenant else { return Err(Code::NotFound.into()) };
    let integrations = Endpoint::in_snapshot(tenant).into_iter().filter_map(|endpoint| {
        let id = platform_id(INTEGRATION, &endpoint.id)?;
        Some((endpoint.id.as_str(), Integration::shown(id, endpoint)))
    });
    let (items, next) = page.cut(integrations);
    Ok(page::answer(items, next))
}
