//! Endpoints: the URLs to which deliveries are posted.

use std::sync::Arc;

use schemas::{Endpoint, EndpointState, Scope, Signature, Tenant};
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{Item, ItemKind, TenantSnapshot};

use super::{actions::HasEndpoint, status, tenant_item::TenantItem, view};
use crate::{
    Control,
    settings::{Generator, Object, Rules, normal_url},
};

impl TenantItem for Endpoint {
    const KIND: ItemKind = ItemKind::Endpoint;
    const ISSUED: &'static [(&'static str, &'static str)] = &[(
        "secret",
        "The signing secret that was made, since none was given: `whsec_…`. Shown this once. Of `v1a` nothing is shown but `public_key`.",
    )];
    const DERIVED: &'static [&'static str] = &["public_key", "health"];
    const OWN_STATE: &'static [&'static str] = &["state", "disabled_reason", "cancelled_before"];
    const EXAMPLE: &'static str = r#"{"name":"CRM","url":"https://crm.example/hooks","format":"whazing","n8n_api_key":"its key","headers":{"x-api-key":{"secret":"its secret"}},"retry":{"schedule":["5s","30s","10m"],"max_age":"72h"}}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &Tenant) -> &Vec<Self> {
        &tenant.endpoints
    }

    fn list_mut(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.endpoints
    }

    fn of_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        let mut all: Vec<_> = tenant.endpoints.values().map(Arc::as_ref).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn of_change(item: &Item) -> Option<&Self> {
        if let Item::Endpoint(endpoint) = item { Some(endpoint) } else { None }
    }

    /// Generates a signing secret, unless the body has secrets. An empty list is a choice as well: requests are then
    /// not signed.
    fn generate_fields(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        if fields.contains_key("secrets") {
            return Ok(Object::new());
        }
        let signature = wanted_signature(fields);
        let secret = generator.signing_secret(signature)?;
        fields.insert("secrets".to_owned(), json!([secret]));
        Ok(shown_once(signature, &secret))
    }

    /// Generates a signing secret only for a description that asks for `v1a`. A description with `v1` and without
    /// secrets stays unsigned.
    fn generate_applied(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        match wanted_signature(fields) {
            Signature::V1 => Ok(Object::new()),
            Signature::V1a => Self::generate_fields(fields, generator),
        }
    }

    fn derived(&self) -> Object {
        self.public_key().map(|key| ("public_key".to_owned(), key.into())).into_iter().collect()
    }

    fn observed_of(id: &str, tenant: &TenantSnapshot, control: &Control) -> Object {
        status::health(control, tenant, id)
    }

    fn normalize(&mut self, old: Option<&Self>, rules: &Rules, _: Option<&[Scope]>) -> Result<(), Problem> {
        if self.state != EndpointState::Disabled {
            self.disabled_reason = None;
        }
        // A stored URL stays allowed until another one is written.
        if old.is_none_or(|old| old.url != self.url) {
            self.url = normal_url(&self.url, &rules.networks)
                .map_err(|why| Problem::new(Code::InvalidBody).error("/url", why))?;
        }
        Ok(())
    }

    fn refuse_id(id: &str) -> Result<(), Problem> {
        view::refuse_id(id)
    }

    fn remove_dependents(id: &str, tenant: &mut Tenant) -> Vec<(ItemKind, String)> {
        let removed = tenant.subscriptions.extract_if(.., |one| one.endpoint_id == id);
        removed.map(|subscription| (ItemKind::Subscription, subscription.id)).collect()
    }
}

impl HasEndpoint for Endpoint {
    const PATH: &'static str = "/v1/tenants/{tenant}/endpoints/{id}";
    const TAG: &'static str = "endpoints";
    const OPERATION: &'static str = "Endpoint";
    const NAME: &'static str = "an endpoint";

    fn endpoint_id(&self) -> &str {
        &self.id
    }
}

/// Returns the kind of signature that a body asks for. An invalid one is refused when the whole body is read.
fn wanted_signature(fields: &Object) -> Signature {
    fields.get("signature").and_then(|kind| serde_json::from_value(kind.clone()).ok()).unwrap_or_default()
}

/// Returns the fields that show a new signing secret. A private key is never shown, because receivers need only the
/// public one.
pub(crate) fn shown_once(kind: Signature, secret: &str) -> Object {
    match kind {
        Signature::V1 => [("secret".to_owned(), Value::from(secret))].into_iter().collect(),
        Signature::V1a => Object::new(),
    }
}
