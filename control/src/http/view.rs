//! Views show endpoints and subscriptions called `channel-<id>`, `integration-<id>` and `queue-<id>` as vendors'
//! screens do. The generic routes show these items, and refuse to change them.

use std::collections::BTreeSet;

use schemas::{Endpoint, Format, Subscription, Tenant};
use service::problem::{Code, Problem};
use store::ItemKind;

use super::{
    resource::ChangeContext,
    tenant_item::{TenantItem as _, put_item},
};

/// Prefixes of ids that belong to a view, each with the request that changes such an item.
const VIEWS: [(&str, &str); 3] = [
    (CHANNEL, "PUT /v1/tenants/{tenant}/channels/{channel_id}/webhook"),
    (INTEGRATION, "PUT /v1/tenants/{tenant}/integrations/{id}"),
    (QUEUE, "PUT /v1/tenants/{tenant}/queues/{queue_id}/integration"),
];

pub(crate) const CHANNEL: &str = "channel-";
pub(crate) const INTEGRATION: &str = "integration-";
pub(crate) const QUEUE: &str = "queue-";

/// Fields that say whether a view's endpoint is posted to. Only carteiro and the generic routes change them.
pub(crate) const STATE: [&str; 2] = ["state", "disabled_reason"];

/// Default format of a view's endpoint: the views follow the screens of this vendor.
pub(crate) fn whazing() -> Format {
    Format::Whazing
}

pub(crate) fn refuse_id(id: &str) -> Result<(), Problem> {
    match VIEWS.iter().find(|(prefix, _)| id.starts_with(prefix)) {
        Some((prefix, call)) => {
            let detail = format!("ids that begin with {prefix} belong to a view: use {call}");
            Err(Problem::new(Code::Conflict).detail(detail))
        }
        None => Ok(()),
    }
}

/// Returns the id of the items in which a view stores the settings of a platform's id.
pub(crate) fn stored_id(prefix: &str, platform_id: &str) -> String {
    format!("{prefix}{}", schemas::escape(platform_id))
}

/// Returns the platform's id in the id of a view's item.
pub(crate) fn platform_id(prefix: &str, stored_id: &str) -> Option<String> {
    schemas::unescape(stored_id.strip_prefix(prefix)?)
}

/// Makes a subscription that no event matches.
pub(crate) fn empty_subscription(id: String, endpoint_id: String) -> Subscription {
    Subscription {
        id,
        name: None,
        endpoint_id,
        enabled: true,
        event_types: BTreeSet::new(),
        channel_ids: None,
        queue_ids: None,
        directions: None,
        ticket_statuses: None,
        groups: None,
        start_on_transfer: false,
    }
}

/// Changes a view's endpoint, or creates it unsigned, as the vendors' are. Fields that the view does not show stay
/// unchanged. Returns the endpoint's index in the tenant's list.
pub(crate) fn put_endpoint(
    tenant: &mut Tenant,
    stored_id: &str,
    url: &str,
    context: &ChangeContext,
    change: impl FnOnce(&mut Endpoint),
) -> Result<usize, Problem> {
    let old = tenant.endpoints.iter().find(|endpoint| endpoint.id == stored_id).cloned();
    let mut endpoint = match &old {
        Some(old) => old.clone(),
        None => {
            let bare = serde_json::json!({"id": stored_id, "url": url});
            store::read_json(&bare).map_err(|found| Problem::new(Code::InvalidBody).error("", found.message))?
        }
    };
    url.clone_into(&mut endpoint.url);
    change(&mut endpoint);
    endpoint.normalize(old.as_ref(), &context.rules, None)?;
    Ok(put_item(&mut tenant.endpoints, endpoint))
}

/// Removes an endpoint and all its subscriptions from the tenant. Returns the removed items.
pub(crate) fn remove_endpoint(tenant: &mut Tenant, id: &str) -> Vec<(ItemKind, String)> {
    tenant.endpoints.retain(|endpoint| endpoint.id != id);
    let mut removed = vec![(ItemKind::Endpoint, id.to_owned())];
    removed.extend(Endpoint::remove_dependents(id, tenant));
    removed
}
