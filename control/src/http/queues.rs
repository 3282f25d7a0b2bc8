//! A queue's integration: which one it has, and whether it starts on a transfer, as on WHAZING's screen of a queue.

use std::{collections::BTreeSet, sync::Arc};

use aide::axum::{ApiRouter, routing::get_with};
use schemars::JsonSchema;
use schemas::{EventType, IdSet, Scope, Subscription, Tenant, TicketStatus, TypePattern};
use serde::{Deserialize, Serialize};
use service::problem::{Code, Problem};
use store::ItemKind;

use super::{
    describe,
    owned::{INTEGRATION, QUEUE, bare_subscription, owned_id, platform_id, put_subscription},
    views::{self, View},
};
use crate::{
    Control,
    settings::{Field, Focus, Object, Reveal, Rules},
};

const EXAMPLE: &str = r#"{"integration_id":"bot","start_on_transfer":true}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let (call, tag) = (describe::call, "integrations");
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/queues/{queue_id}/integration",
        get_with(views::show::<Binding>, move |op| {
            let op = call(op, tag, "getQueueIntegration", "Show a queue's integration", Some(Scope::Read));
            describe::answers::<200, Binding>(op)
        })
        .put_with(views::replace::<Binding>, move |op| {
            let op = call(op, tag, "putQueueIntegration", "Bind a queue to an integration", Some(Scope::Manage));
            let op = describe::more(op, "A queue has at most one: this replaces the one before.");
            let op = describe::conditional(describe::takes::<Binding>(op, EXAMPLE));
            describe::answers::<201, Binding>(describe::answers::<200, Binding>(op))
        })
        .patch_with(views::patch::<Binding>, move |op| {
            let op = call(op, tag, "patchQueueIntegration", "Change a queue's integration", Some(Scope::Manage));
            let op = describe::takes_patch::<Binding>(op, r#"{"start_on_transfer":false}"#);
            describe::answers::<200, Binding>(describe::conditional(op))
        })
        .delete_with(views::delete::<Binding>, move |op| {
            let op = call(op, tag, "deleteQueueIntegration", "Unbind a queue", Some(Scope::Manage));
            let op = describe::more(op, "What is queued still goes out.");
            describe::answers::<200, describe::Deleted>(describe::conditional(op))
        }),
    )
}

/// A queue's integration.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueueIntegration")]
pub(crate) struct Binding {
    /// The queue's id, as in the path.
    #[serde(default)]
    queue_id: String,
    /// Which integration.
    integration_id: String,
    /// A transfer to the queue starts it at once, with the last received message; else the next message does.
    #[serde(default)]
    start_on_transfer: bool,
    /// Off: nothing new is sent; what is queued still goes out.
    #[serde(default = "yes")]
    enabled: bool,
    /// False: no messages of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<bool>,
    /// Of messages: in tickets of these states only. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket_statuses: Option<BTreeSet<TicketStatus>>,
}

fn yes() -> bool {
    true
}

impl Reveal for Binding {
    fn reveal_into(&self, _: &mut Object) {}
}

impl View for Binding {
    const PREFIX: &'static str = QUEUE;
    const PART: &'static str = "queue_id";
    const KINDS: &'static [ItemKind] = &[ItemKind::Subscription];
    const KEPT: &'static [Field] = &[];

    fn of(tenant: &Tenant, id: &str) -> Option<Self> {
        let owned = owned_id(QUEUE, id);
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == owned)?;
        Some(Self {
            queue_id: id.to_owned(),
            // One that a file bound to an endpoint of its own is shown as it is.
            integration_id: platform_id(INTEGRATION, &subscription.endpoint_id)
                .unwrap_or_else(|| subscription.endpoint_id.clone()),
            start_on_transfer: subscription.start_on_transfer,
            enabled: subscription.enabled,
            groups: subscription.groups,
            ticket_statuses: subscription.ticket_statuses.clone(),
        })
    }

    fn put(self, tenant: &mut Tenant, id: &str, _: &Rules) -> Result<Focus, Problem> {
        let endpoint_id = owned_id(INTEGRATION, &self.integration_id);
        if !tenant.endpoints.iter().any(|endpoint| endpoint.id == endpoint_id) {
            let problem = Problem::new(Code::InvalidBody);
            return Err(problem.error("/integration_id", "the tenant has no such integration"));
        }
        let types = [EventType::MESSAGE_RECEIVED, EventType::MESSAGE_SENT].map(TypePattern::Type);
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types.into(),
            queue_ids: Some(IdSet([id.to_owned()].into())),
            start_on_transfer: self.start_on_transfer,
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..bare_subscription(owned_id(QUEUE, id), endpoint_id)
        };
        Ok(Focus { kind: ItemKind::Subscription, index: put_subscription(tenant, subscription) })
    }

    fn remove(tenant: &mut Tenant, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let owned = owned_id(QUEUE, id);
        tenant.subscriptions.retain(|subscription| subscription.id != owned);
        Ok(vec![(ItemKind::Subscription, owned)])
    }
}
