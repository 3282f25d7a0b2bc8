//! Sources, through which a vendor's webhooks come in.

use std::sync::Arc;

use schemas::{SourceConfig, Tenant, Warning, WarningCode};
use serde_json::Value;
use store::{Item, ItemKind, Snapshot, TenantSnapshot};

use super::tenant_item::TenantItem;
use crate::settings::{Generator, Object};

impl TenantItem for SourceConfig {
    const KIND: ItemKind = ItemKind::Source;
    const GENERATED: &'static [(&'static str, &'static str)] =
        &[("token", "a source cannot be without its token: rotate it, or delete the source")];
    const ISSUED: &'static [(&'static str, &'static str)] = &[
        ("token", "The secret part of its URL. Shown this once; masked from then on."),
        ("path", "Where the vendor posts to: `/v1/in/<token>`. Shown this once."),
    ];
    const EXAMPLE: &'static str = r#"{"name":"Main line","dialect":"whazing","channel_id":7}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &Tenant) -> &Vec<Self> {
        &tenant.sources
    }

    fn list_mut(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.sources
    }

    fn of_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.sources.iter().map(Arc::as_ref).collect()
    }

    fn of_change(item: &Item) -> Option<&Self> {
        if let Item::Source(source) = item { Some(source) } else { None }
    }

    fn generate_fields(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        if fields.contains_key("token") {
            return Ok(Object::new());
        }
        let token = generator.token()?;
        fields.insert("token".to_owned(), token.as_str().into());
        Ok(shown_once(&token))
    }

    fn warnings(&self, tenant: &Tenant) -> Vec<Warning> {
        let wants_channel = tenant.subscriptions.iter().any(|subscription| subscription.channel_ids.is_some());
        if self.channel_id.is_some() || self.dialect.names_channels() || !wants_channel {
            return Vec::new();
        }
        let message = "bodies of this dialect name no channel: without it, subscriptions with channel_ids match none";
        vec![Warning::new(WarningCode::NoChannel, "/channel_id", message)]
    }

    fn owners(&self, snapshot: &Snapshot) -> Vec<(String, String)> {
        let known = self.tokens().filter_map(|(token, _)| snapshot.owner_of_token(token.reveal()));
        known.map(|known| (known.tenant.id.clone(), known.source.id.clone())).collect()
    }
}

pub(crate) fn shown_once(token: &str) -> Object {
    let path = format!("/v1/in/{token}");
    [("token".to_owned(), Value::from(token)), ("path".to_owned(), path.into())].into_iter().collect()
}
