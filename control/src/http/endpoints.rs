//! Endpoints: where deliveries are posted.

use std::sync::Arc;

use schemas::{Endpoint, EndpointState, Scope, Signature, Tenant};
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{ItemKind, TenantSnapshot};

use super::{owned, resource::Resource, write::OWN_STATE};
use crate::settings::{Field, Made, Maker, Object, Rules, normal_url};

impl Resource for Endpoint {
    const KIND: ItemKind = ItemKind::Endpoint;
    const KEPT: &'static [Field] = &[
        Field::One("n8n_api_key"),
        Field::One("secrets"),
        Field::SecretValues("headers"),
        OWN_STATE[0],
        OWN_STATE[1],
        OWN_STATE[2],
    ];
    const MADE: &'static [&'static str] = &[];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = &[(
        "secret",
        "The signing secret that was made, since none was given: `whsec_…`. Shown this once. Of `v1a` nothing is shown but `public_key`.",
    )];
    const DERIVED: &'static [&'static str] = &["public_key"];
    const EXAMPLE: &'static str = r#"{"name":"CRM","url":"https://crm.example/hooks","format":"whazing","n8n_api_key":"its key","headers":{"x-api-key":{"secret":"its secret"}},"retry":{"schedule":["5s","30s","10m"],"max_age":"72h"}}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.endpoints
    }

    fn in_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        let mut all: Vec<_> = tenant.endpoints.values().map(Arc::as_ref).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// An empty list is an answer, too: requests are not signed.
    fn make(fields: &mut Object, maker: &Maker) -> std::io::Result<Made> {
        if fields.contains_key("secrets") {
            return Ok(Made::new());
        }
        let kind = kind(fields);
        let secret = maker.signing_secret(kind)?;
        fields.insert("secrets".to_owned(), json!([secret]));
        Ok(shown_once(kind, &secret))
    }

    /// Who asks for `v1a` wants signatures, also where `v1` without secrets would mean none.
    fn make_applied(fields: &mut Object, maker: &Maker) -> std::io::Result<Made> {
        match kind(fields) {
            Signature::V1 => Ok(Made::new()),
            Signature::V1a => Self::make(fields, maker),
        }
    }

    fn derived(&self) -> Object {
        self.public_key().map(|key| ("public_key".to_owned(), key.into())).into_iter().collect()
    }

    fn settle(&mut self, old: Option<&Self>, rules: &Rules, _: Option<&[Scope]>) -> Result<(), Problem> {
        if self.state == EndpointState::Active {
            self.disabled_reason = None;
        }
        // What was allowed when it was written stays, until it is written anew.
        if old.is_none_or(|old| old.url != self.url) {
            self.url = normal_url(&self.url, &rules.networks)
                .map_err(|why| Problem::new(Code::InvalidBody).error("/url", why))?;
        }
        Ok(())
    }

    fn owned(id: &str) -> Result<(), Problem> {
        owned::refuse_owned(id)
    }

    fn take_along(id: &str, tenant: &mut Tenant) -> Vec<(ItemKind, String)> {
        let (gone, kept) = std::mem::take(&mut tenant.subscriptions).into_iter().partition(|one| one.endpoint_id == id);
        tenant.subscriptions = kept;
        let gone: Vec<schemas::Subscription> = gone;
        gone.into_iter().map(|subscription| (ItemKind::Subscription, subscription.id)).collect()
    }
}

/// Which signatures a body asks for; what is none is told when the whole of it is read.
fn kind(fields: &Object) -> Signature {
    fields.get("signature").and_then(|kind| serde_json::from_value(kind.clone()).ok()).unwrap_or_default()
}

/// What is shown of a secret that was made. Nobody but this service needs a private key: receivers have the public one.
pub(crate) fn shown_once(kind: Signature, secret: &str) -> Made {
    match kind {
        Signature::V1 => [("secret".to_owned(), Value::from(secret))].into_iter().collect(),
        Signature::V1a => Made::new(),
    }
}
