//! Integrations: a URL that queues are bound to, as on WHAZING's screen of integrations.

use std::sync::Arc;

use schemars::JsonSchema;
use schemas::{
    Endpoint, EndpointState, Format, FormatOptions, Scope, Secret, SecretField, SecretFields, SecretForm, Tenant,
};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    describe,
    page::Page,
    read::{list, show},
    resource::{ChangeContext, Listed, Resource},
    tenant_item::TenantItem as _,
    view::{self, INTEGRATION, QUEUE, whazing},
    write,
};
use crate::{
    Control,
    settings::{Object, ProblemScope},
};

const EXAMPLE: &str = r#"{"name":"Bot","url":"https://n8n.example/webhook/2","n8n_api_key":"its key"}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/integrations",
            get_with(list::<Integration>, move |op| {
                let op = operation(op, "listIntegrations", "List integrations", Scope::Read);
                describe::answers::<200, describe::PageSchema<Integration>>(describe::paged(op))
            })
            .post_with(write::create::<Integration>, move |op| {
                let op = operation(op, "createIntegration", "Create integration", Scope::Manage);
                describe::answers::<201, Integration>(describe::takes::<Integration>(op, EXAMPLE))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/integrations/{id}",
            get_with(show::<Integration>, move |op| {
                let op = operation(op, "getIntegration", "Show integration", Scope::Read);
                describe::answers::<200, Integration>(op)
            })
            .put_with(write::replace::<Integration>, move |op| {
                let op = operation(op, "putIntegration", "Create or replace integration", Scope::Manage);
                let op = describe::conditional(describe::takes::<Integration>(op, EXAMPLE));
                describe::answers::<201, Integration>(describe::answers::<200, Integration>(op))
            })
            .patch_with(write::patch::<Integration>, move |op| {
                let op = operation(op, "patchIntegration", "Change integration", Scope::Manage);
                let op = describe::takes_patch::<Integration>(op, r#"{"url":"https://n8n.example/webhook/3"}"#);
                describe::answers::<200, Integration>(describe::conditional(op))
            })
            .delete_with(write::delete::<Integration>, move |op| {
                let op = operation(op, "deleteIntegration", "Delete integration", Scope::Manage);
                let op = describe::more(op, "409 while queues are bound to it.");
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, "integrations", id, summary, Some(scope))
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

impl SecretFields for Integration {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[SecretField {
        name: "n8n_api_key",
        form: SecretForm::HeaderValue(|integration| integration.n8n_api_key.as_ref()),
    }];
}

impl Resource for Integration {
    const HAS_PLATFORM_ID: bool = true;
    const ID_PREFIX: &'static str = "int";
    const KINDS: &'static [ItemKind] = &[ItemKind::Endpoint];
    const READ_ONLY: &'static [&'static str] = &view::STATE;

    fn stored_id(id: &str) -> String {
        view::stored_id(INTEGRATION, id)
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let stored_id = Self::stored_id(id);
        let endpoint = tenant.endpoints.iter().find(|endpoint| endpoint.id == stored_id)?;
        Some(Self::new(id.to_owned(), endpoint))
    }

    fn put(self, tenant: &mut Tenant, _: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let index = view::put_endpoint(tenant, &Self::stored_id(&context.id), &self.url, context, |endpoint| {
            (endpoint.name, endpoint.n8n_api_key) = (self.name, self.n8n_api_key);
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
        })?;
        Ok(ProblemScope { kind: ItemKind::Endpoint, index })
    }

    fn remove(draft: &mut Draft, tenant: &str, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        let stored_id = Self::stored_id(id);
        let bound = tenant.subscriptions.iter().filter(|subscription| subscription.endpoint_id == stored_id);
        let queues: Vec<_> = bound.filter_map(|subscription| view::platform_id(QUEUE, &subscription.id)).collect();
        if !queues.is_empty() {
            let detail = format!("queues are bound to it: {}", queues.join(", "));
            return Err(Problem::new(Code::Conflict).detail(detail));
        }
        Ok(view::remove_endpoint(tenant, &stored_id))
    }
}

impl Listed for Integration {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let integrations = Endpoint::of_snapshot(tenant).into_iter().filter_map(|endpoint| {
            let id = view::platform_id(INTEGRATION, &endpoint.id)?;
            Some((endpoint.id.as_str(), Self::new(id, endpoint)))
        });
        let (integrations, next) = page.cut(integrations);
        (integrations.iter().map(Resource::shown).collect(), next)
    }
}

impl Integration {
    fn new(id: String, endpoint: &Endpoint) -> Self {
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
