//! Sources: where a vendor's webhooks come in.

use std::sync::Arc;

use schemas::{SourceConfig, Tenant};
use serde_json::Value;
use store::{ItemKind, Snapshot, TenantSnapshot};

use super::resource::Resource;
use crate::settings::{Field, Made, Maker, Object};

impl Resource for SourceConfig {
    const KIND: ItemKind = ItemKind::Source;
    const KEPT: &'static [Field] = &[
        Field::Needed("token", "a source cannot be without its token: rotate it, or delete the source"),
        Field::One("old_token"),
        Field::One("n8n_api_key"),
    ];
    const MADE: &'static [&'static str] = &["token"];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = &[
        ("token", "The secret part of its URL. Shown this once; masked from then on."),
        ("path", "Where the vendor posts to: `/v1/in/<token>`. Shown this once."),
    ];
    const EXAMPLE: &'static str = r#"{"name":"Main line","dialect":"whazing","channel_id":7}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.sources
    }

    fn in_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.sources.iter().map(Arc::as_ref).collect()
    }

    fn make(fields: &mut Object, maker: &Maker) -> std::io::Result<Made> {
        if fields.contains_key("token") {
            return Ok(Made::new());
        }
        let token = maker.token()?;
        fields.insert("token".to_owned(), token.as_str().into());
        Ok(shown_once(&token))
    }

    fn owners(&self, snapshot: &Snapshot) -> Vec<(String, String)> {
        let known = self.tokens().filter_map(|(token, _)| snapshot.owner_of_token(token.reveal()));
        known.map(|known| (known.tenant.id.clone(), known.source.id.clone())).collect()
    }
}

/// What is told of a new token.
pub(crate) fn shown_once(token: &str) -> Made {
    let path = format!("/v1/in/{token}");
    [("token".to_owned(), Value::from(token)), ("path".to_owned(), path.into())].into_iter().collect()
}
