//! Views show endpoints and subscriptions called `channel-<id>`, `integration-<id>` and `queue-<id>` as vendors'
//! screens do. The generic routes show these items, and refuse to change them.

use std::collections::BTreeSet;

use schemas::{Endpoint, Format, Subscription, Tenant, View};
use service::problem::{Code, Problem};
use store::ItemKind;

use super::{
    resource::{ChangeContext, Resource},
    tenant_item::{TenantItem as _, put_item},
};

/// Default format of a view's endpoint: the views follow the screens of this vendor.
pub(crate) fn whazing() -> Format {
    Format::Whazing
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn refuse_id(id: &str) -> Result<(), Problem> {
    let Some(view) = View::owner(id) else { return Ok(()) };
    let call = match view {
        View::Channel => "PUT /v1/tenants/{tenant}/channels/{channel_id}/webhook",
        View::Integration => "PUT /v1/tenants/{tenant}/integrations/{id}",
        View::Queue => "PUT /v1/tenants/{tenant}/queues/{queue_id}/integration",
    };
    let detail = format!("ids that begin with {} belong to a view: use {call}", view.prefix());
    Err(Problem::new(Code::Conflict).detail(detail))
}

/// Refuses a platform's id that no view can be made for.
pub(crate) fn check_new_id<R: Resource>(id: &str) -> Result<(), Problem> {
    View::check_platform_id(id)
        .map_err(|why| Problem::new(Code::InvalidBody).error(schemas::pointer::to_member(R::BODY_ID), why))
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

/// Changes a view's endpoint, or creates it. Fields that the view does not show stay unchanged. Returns the endpoint's
/// index in the tenant's list.
pub(crate) fn put_endpoint(
    tenant: &mut Tenant,
    id: &str,
    url: &str,
    context: &ChangeContext,
    change: impl FnOnce(&mut Endpoint),
) -> Result<usize, Problem> {
    let old = tenant.endpoints.iter().find(|endpoint| endpoint.id == id).cloned();
    let mut endpoint = match &old {
        Some(old) => old.clone(),
        None => {
            let bare = serde_json::json!({"id": id, "url": url});
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
