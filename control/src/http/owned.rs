//! What views own: endpoints and subscriptions called `channel-<id>`, `integration-<id>` and `queue-<id>`.
//!
//! The generic calls show them, and refuse to change them.

use std::collections::BTreeSet;

use schemas::{Endpoint, Format, Subscription, Tenant};
use service::problem::{Code, Problem};
use store::ItemKind;

use super::resource::Resource as _;
use crate::settings::Rules;

/// The prefix of what a view owns, and the call that changes it.
const VIEWS: [(&str, &str); 3] = [
    (CHANNEL, "PUT /v1/tenants/{tenant}/channels/{channel_id}/webhook"),
    (INTEGRATION, "PUT /v1/tenants/{tenant}/integrations/{id}"),
    (QUEUE, "PUT /v1/tenants/{tenant}/queues/{queue_id}/integration"),
];

/// What channels own begins with this.
pub(crate) const CHANNEL: &str = "channel-";
/// What integrations own.
pub(crate) const INTEGRATION: &str = "integration-";
/// What queues own.
pub(crate) const QUEUE: &str = "queue-";

/// What views show of whether their endpoint is posted to. It is carteiro's, and the generic calls', to change.
pub(crate) const STATE: [&str; 2] = ["state", "disabled_reason"];

/// The format of a view's endpoint where none is chosen: the views are that vendor's screens.
pub(crate) fn whazing() -> Format {
    Format::Whazing
}

/// What a view owns is not changed by the generic calls.
pub(crate) fn refuse_owned(id: &str) -> Result<(), Problem> {
    match VIEWS.iter().find(|(prefix, _)| id.starts_with(prefix)) {
        Some((prefix, call)) => {
            let detail = format!("ids that begin with {prefix} belong to a view: use {call}");
            Err(Problem::new(Code::Conflict).detail(detail))
        }
        None => Ok(()),
    }
}

/// The id under which a view keeps what belongs to an id of the platform's.
pub(crate) fn owned_id(prefix: &str, id: &str) -> String {
    format!("{prefix}{}", schemas::escape(id))
}

/// The platform's id in one that a view keeps.
pub(crate) fn platform_id(prefix: &str, owned: &str) -> Option<String> {
    schemas::unescape(owned.strip_prefix(prefix)?)
}

/// One that wants nothing.
pub(crate) fn bare_subscription(id: String, endpoint_id: String) -> Subscription {
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

/// Changes a view's endpoint, or makes it, unsigned as the vendors' are; says where it is. What the view does not show
/// stays as it is.
pub(crate) fn put_endpoint(
    tenant: &mut Tenant,
    owned: &str,
    url: &str,
    rules: &Rules,
    change: impl FnOnce(&mut Endpoint),
) -> Result<usize, Problem> {
    let place = tenant.endpoints.iter().position(|endpoint| endpoint.id == owned);
    let old = place.map(|place| tenant.endpoints[place].clone());
    let mut endpoint = match &old {
        Some(old) => old.clone(),
        None => {
            let bare = serde_json::json!({"id": owned, "url": url});
            store::read_json(&bare).map_err(|found| Problem::new(Code::InvalidBody).error("", found.message))?
        }
    };
    url.clone_into(&mut endpoint.url);
    change(&mut endpoint);
    endpoint.settle(old.as_ref(), rules, None)?;
    Ok(match place {
        Some(place) => {
            tenant.endpoints[place] = endpoint;
            place
        }
        None => {
            tenant.endpoints.push(endpoint);
            tenant.endpoints.len() - 1
        }
    })
}

/// Replaces a view's subscription, or adds it; says where it is.
pub(crate) fn put_subscription(tenant: &mut Tenant, subscription: Subscription) -> usize {
    let list = &mut tenant.subscriptions;
    match list.iter().position(|known| known.id == subscription.id) {
        Some(place) => {
            list[place] = subscription;
            place
        }
        None => {
            list.push(subscription);
            list.len() - 1
        }
    }
}

/// Takes an endpoint away with all its subscriptions.
pub(crate) fn remove_endpoint(tenant: &mut Tenant, owned: &str) -> Vec<(ItemKind, String)> {
    tenant.endpoints.retain(|endpoint| endpoint.id != owned);
    let mut gone = vec![(ItemKind::Endpoint, owned.to_owned())];
    gone.extend(Endpoint::take_along(owned, tenant));
    gone
}
