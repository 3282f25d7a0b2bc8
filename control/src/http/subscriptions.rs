//! Subscriptions: what an endpoint is posted.

use schemas::{Subscription, Tenant};
use service::problem::Problem;
use store::{ItemKind, TenantSnapshot};

use super::{owned, resource::Resource};
use crate::settings::Field;

impl Resource for Subscription {
    const KIND: ItemKind = ItemKind::Subscription;
    const KEPT: &'static [Field] = &[];
    const MADE: &'static [&'static str] = &[];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = &[];
    const EXAMPLE: &'static str =
        r#"{"endpoint_id":"crm","channel_ids":[7],"event_types":["message.received","ticket.*"],"groups":false}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.subscriptions
    }

    fn in_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.subscriptions.iter().collect()
    }

    fn owned(id: &str) -> Result<(), Problem> {
        owned::refuse_owned(id)
    }
}
