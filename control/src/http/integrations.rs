//! Integrations: a URL that queues are bound to, as on WHAZING's screen of integrations.

use std::sync::Arc;

use schemars::JsonSchema;
use schemas::{
    Endpoint, EndpointState, Format, FormatOptions, Scope, Secret, SecretField, SecretFields, SecretForm, Signature,
    SigningSecret, Tenant, View,
};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    actions::HasEndpoint,
    describe,
    item_routes::WithShownOnce,
    page::Page,
    read::{list, show},
    resource::{ChangeContext, Listed, Resource},
    status,
    tenant_item::TenantItem as _,
    view::{self, whazing},
    write,
};
use crate::{
    Control,
    settings::{Generator, Object, ProblemScope},
};

const TAG: &str = "integrations";

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
                describe::answers::<201, WithShownOnce<Integration>>(describe::creates::<Integration>(op, EXAMPLE))
            }),
        )
        .api_route(
            Integration::PATH,
            get_with(show::<Integration>, move |op| {
                let op = operation(op, "getIntegration", "Show integration", Scope::Read);
                describe::answers::<200, Integration>(describe::versioned(op))
            })
            .put_with(write::replace::<Integration>, move |op| {
                let op = operation(op, "putIntegration", "Create or replace integration", Scope::Manage);
                let op = describe::replaces::<Integration>(op, EXAMPLE);
                describe::answers::<201, WithShownOnce<Integration>>(describe::answers::<200, Integration>(op))
            })
            .patch_with(write::patch::<Integration>, move |op| {
                let op = operation(op, "patchIntegration", "Change integration", Scope::Manage);
                let op = describe::patches::<Integration>(op, r#"{"url":"https://n8n.example/webhook/3"}"#);
                describe::answers::<200, Integration>(op)
            })
            .delete_with(write::delete::<Integration>, move |op| {
                let op = operation(op, "deleteIntegration", "Delete integration", Scope::Manage);
                let op = describe::more(op, "409 while queues are bound to it.");
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, TAG, id, summary, Some(scope))
}

/// An integration.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = schemas::show_health)]
pub(crate) struct Integration {
    /// Its id, as in the path; made where it is left out.
    #[serde(default)]
    #[schemars(regex(pattern = r"\S"))]
    id: String,
    /// As shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `http` or `https`; without user or password.
    #[schemars(regex(pattern = schemas::pattern::HTTP_URL), extend("format" = "uri"))]
    url: String,
    /// Sent as `X-N8N-API-KEY`, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schemas::pattern::SECRET_HEADER_VALUE))]
    n8n_api_key: Option<Secret>,
    /// Signing secrets, newest first, as of an endpoint. Left out, a new one is made and shown this once, and stored ones are
    /// kept. Empty: requests are not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SigningSecret>,
    /// Kind of the newest secret, and of the one that is made when none is given. Left out, it is kept.
    #[serde(default)]
    signature: Signature,
    /// The shape of what is sent.
    #[serde(default = "whazing")]
    format: Format,
    /// Fine points of the shape.
    #[serde(default)]
    format_options: FormatOptions,
    /// Public key that verifies the newest `v1a` signatures, `whpk_…`. It may be given to anyone. Read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    public_key: Option<String>,
    /// Read only, and passed over in a body. Disabled: nothing is posted, by `POST …/disable` or because the receiver answered
    /// 410. Paused: what is for it waits, by `POST …/pause`. `POST …/enable` ends either.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    state: EndpointState,
    /// Why it is disabled. Read only, and passed over in a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    disabled_reason: Option<String>,
    /// Id of its endpoint: `integration-` and the id above, of which all but letters, digits, `-`, `.`, `_` and `~` is
    /// percent-encoded (RFC 3986). Read only.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    endpoint_id: String,
}

impl SecretFields for Integration {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[
        SecretField {
            name: "n8n_api_key",
            form: SecretForm::HeaderValue(|integration| integration.n8n_api_key.as_ref()),
        },
        SecretField { name: "secrets", form: SecretForm::Signing(|integration| &integration.secrets) },
    ];
}

impl Resource for Integration {
    const HAS_PLATFORM_ID: bool = true;
    const ID_PREFIX: &'static str = "int";
    const STATE: &'static [&'static str] = &["signature"];
    const READ_ONLY: &'static [&'static str] = &["public_key", "health", "state", "disabled_reason", "endpoint_id"];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = Endpoint::ISSUED;

    fn observed(id: &str, tenant: &TenantSnapshot, control: &Control) -> Object {
        let shown = Self::in_snapshot(tenant, id);
        shown.map_or_else(Object::new, |shown| status::health(control, tenant, &shown.endpoint_id))
    }

    fn items(&self) -> Vec<(ItemKind, &str)> {
        vec![(ItemKind::Endpoint, &self.endpoint_id)]
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let endpoint = tenant.endpoints.iter().find(|endpoint| View::Integration.is_of(&endpoint.id, id))?;
        Some(Self::new(id.to_owned(), endpoint))
    }

    fn check_new_id(id: &str) -> Result<(), Problem> {
        view::check_new_id::<Self>(id)
    }

    fn generate(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        Endpoint::generate_fields(fields, generator)
    }

    fn put(self, tenant: &mut Tenant, old: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let item_id = old.map_or_else(|| View::Integration.item_id(&context.id), |old| old.endpoint_id.clone());
        let index = view::put_endpoint(tenant, &item_id, &self.url, context, |endpoint| {
            (endpoint.name, endpoint.n8n_api_key) = (self.name, self.n8n_api_key);
            (endpoint.secrets, endpoint.signature) = (self.secrets, self.signature);
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
        })?;
        Ok(ProblemScope { kind: ItemKind::Endpoint, index })
    }

    fn remove(self, draft: &mut Draft, tenant: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        let bound = tenant.subscriptions.iter().filter(|subscription| subscription.endpoint_id == self.endpoint_id);
        let queues: Vec<_> = bound.filter_map(|subscription| View::Queue.platform_id(&subscription.id)).collect();
        if !queues.is_empty() {
            let detail = format!("queues are bound to it: {}", queues.join(", "));
            return Err(Problem::new(Code::Conflict).detail(detail));
        }
        Ok(view::remove_endpoint(tenant, &self.endpoint_id))
    }
}

impl Listed for Integration {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let integrations = Endpoint::of_snapshot(tenant).into_iter().filter_map(|endpoint| {
            let id = View::Integration.platform_id(&endpoint.id)?;
            Some((endpoint.id.as_str(), Self::new(id, endpoint)))
        });
        let (integrations, next) = page.cut(integrations);
        (integrations.iter().map(Resource::shown).collect(), next)
    }
}

impl HasEndpoint for Integration {
    const PATH: &'static str = "/v1/tenants/{tenant}/integrations/{id}";
    const TAG: &'static str = TAG;
    const OPERATION: &'static str = "Integration";
    const NAME: &'static str = "an integration";

    fn endpoint_id(&self) -> &str {
        &self.endpoint_id
    }
}

impl Integration {
    fn new(id: String, endpoint: &Endpoint) -> Self {
        Self {
            id,
            name: endpoint.name.clone(),
            url: endpoint.url.clone(),
            n8n_api_key: endpoint.n8n_api_key.clone(),
            secrets: endpoint.secrets.clone(),
            signature: endpoint.signature,
            format: endpoint.format,
            format_options: endpoint.format_options,
            public_key: endpoint.public_key(),
            state: endpoint.state,
            disabled_reason: endpoint.disabled_reason.clone(),
            endpoint_id: endpoint.id.clone(),
        }
    }
}
