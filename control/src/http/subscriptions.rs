//! Subscriptions, which select the events that are posted to an endpoint.

use schemas::{Subscription, Tenant, View, Warning};
use service::problem::Problem;
use store::{Item, ItemKind, TenantSnapshot};

use super::{tenant_item::TenantItem, view};

impl TenantItem for Subscription {
    const KIND: ItemKind = ItemKind::Subscription;
    const EXAMPLE: &'static str =
        r#"{"endpoint_id":"crm","channel_ids":[7],"event_types":["message.received","ticket.*"],"groups":false}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &Tenant) -> &Vec<Self> {
        &tenant.subscriptions
    }

    fn list_mut(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.subscriptions
    }

    fn of_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.subscriptions.iter().collect()
    }

    fn of_change(item: &Item) -> Option<&Self> {
        if let Item::Subscription(subscription) = item { Some(subscription) } else { None }
    }

    fn warnings(&self, tenant: &Tenant) -> Vec<Warning> {
        // No box of the channel is ticked, which is no mistake.
        if self.event_types.is_empty() && View::owner(&self.id) == Some(View::Channel) {
            return Vec::new();
        }
        let endpoint = tenant.endpoints.iter().find(|endpoint| endpoint.id == self.endpoint_id);
        self.warnings(endpoint.map(|endpoint| endpoint.format).unwrap_or_default())
    }

    fn refuse_id(id: &str) -> Result<(), Problem> {
        view::refuse_id(id)
    }
}
