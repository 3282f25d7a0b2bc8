//! A queue's integration: which one it has, and whether it starts on a transfer, as on WHAZING's screen of a queue.

use std::{collections::BTreeSet, sync::Arc};

use schemars::JsonSchema;
use schemas::{EventType, IdSet, Scope, SecretField, SecretFields, Subscription, Tenant, TicketStatus, TypePattern};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind};

use super::{
    describe,
    read::show,
    resource::{ChangeContext, Resource},
    tenant_item::put_item,
    view::{self, INTEGRATION, QUEUE},
    write,
};
use crate::{Control, settings::ProblemScope};

const EXAMPLE: &str = r#"{"integration_id":"bot","start_on_transfer":true}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/queues/{queue_id}/integration",
        get_with(show::<QueueBinding>, move |op| {
            let op = operation(op, "getQueueIntegration", "Show a queue's integration", Scope::Read);
            describe::answers::<200, QueueBinding>(op)
        })
        .put_with(write::replace::<QueueBinding>, move |op| {
            let op = operation(op, "putQueueIntegration", "Bind a queue to an integration", Scope::Manage);
            let op = describe::more(op, "A queue has at most one: this replaces the one before.");
            let op = describe::conditional(describe::takes::<QueueBinding>(op, EXAMPLE));
            describe::answers::<201, QueueBinding>(describe::answers::<200, QueueBinding>(op))
        })
        .patch_with(write::patch::<QueueBinding>, move |op| {
            let op = operation(op, "patchQueueIntegration", "Change a queue's integration", Scope::Manage);
            let op = describe::takes_patch::<QueueBinding>(op, r#"{"start_on_transfer":false}"#);
            describe::answers::<200, QueueBinding>(describe::conditional(op))
        })
        .delete_with(write::delete::<QueueBinding>, move |op| {
            let op = operation(op, "deleteQueueIntegration", "Unbind a queue", Scope::Manage);
            let op = describe::more(op, "What is queued still goes out.");
            describe::answers::<200, describe::Deleted>(describe::conditional(op))
        }),
    )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, "integrations", id, summary, Some(scope))
}

/// A queue's integration.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueueIntegration")]
pub(crate) struct QueueBinding {
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

impl SecretFields for QueueBinding {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[];
}

impl Resource for QueueBinding {
    const PATH_ID: &'static str = "queue_id";
    const BODY_ID: &'static str = "queue_id";
    const HAS_PLATFORM_ID: bool = true;
    const KINDS: &'static [ItemKind] = &[ItemKind::Subscription];

    fn stored_id(id: &str) -> String {
        view::stored_id(QUEUE, id)
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let stored_id = Self::stored_id(id);
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == stored_id)?;
        Some(Self {
            queue_id: id.to_owned(),
            // A file may bind a queue to an endpoint that is no integration. The answer then shows that endpoint's own
            // id.
            integration_id: view::platform_id(INTEGRATION, &subscription.endpoint_id)
                .unwrap_or_else(|| subscription.endpoint_id.clone()),
            start_on_transfer: subscription.start_on_transfer,
            enabled: subscription.enabled,
            groups: subscription.groups,
            ticket_statuses: subscription.ticket_statuses.clone(),
        })
    }

    fn put(self, tenant: &mut Tenant, _: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let endpoint_id = view::stored_id(INTEGRATION, &self.integration_id);
        if !tenant.endpoints.iter().any(|endpoint| endpoint.id == endpoint_id) {
            let problem = Problem::new(Code::InvalidBody);
            return Err(problem.error("/integration_id", "the tenant has no such integration"));
        }
        let types = [EventType::MESSAGE_RECEIVED, EventType::MESSAGE_SENT].map(TypePattern::Type);
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types.into(),
            queue_ids: Some(IdSet([context.id.clone()].into())),
            start_on_transfer: self.start_on_transfer,
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..view::empty_subscription(Self::stored_id(&context.id), endpoint_id)
        };
        Ok(ProblemScope { kind: ItemKind::Subscription, index: put_item(&mut tenant.subscriptions, subscription) })
    }

    fn remove(draft: &mut Draft, tenant: &str, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let stored_id = Self::stored_id(id);
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        tenant.subscriptions.retain(|subscription| subscription.id != stored_id);
        Ok(vec![(ItemKind::Subscription, stored_id)])
    }
}
