//! A queue's integration: which one it has, and whether it starts on a transfer, as on WHAZING's screen of a queue.

use std::{collections::BTreeSet, sync::Arc};

use axum::response::Response;
use schemars::JsonSchema;
use schemas::{
    Endpoint, EventType, IdSet, Scope, SecretField, SecretFields, Subscription, Tenant, TicketStatus, TypePattern, View,
};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    actions::{self, HasEndpoint, act},
    context::RequestContext,
    describe,
    page::Page,
    read::{list, show},
    resource::{ChangeContext, Listed, Resource},
    tenant_item::{TenantItem as _, item_mut, put_item},
    view::{self, yes},
    write,
};
use crate::{
    Control,
    settings::{Object, ProblemScope},
};

const EXAMPLE: &str = r#"{"integration_id":"bot","start_on_transfer":true}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let at = |path: &str| format!("{}/{path}", QueueBinding::PATH);
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/queues",
            get_with(list::<QueueBinding>, move |op| {
                let op = operation(op, "listQueueIntegrations", "List queues with an integration", Scope::Read);
                describe::answers::<200, describe::PageSchema<QueueBinding>>(describe::paged(op))
            }),
        )
        .api_route(
            QueueBinding::PATH,
            get_with(show::<QueueBinding>, move |op| {
                let op = operation(op, "getQueueIntegration", "Show a queue's integration", Scope::Read);
                describe::answers::<200, QueueBinding>(describe::versioned(op))
            })
            .put_with(write::replace::<QueueBinding>, move |op| {
                let op = operation(op, "putQueueIntegration", "Bind a queue to an integration", Scope::Manage);
                let op = describe::more(op, "A queue has at most one: this replaces the one before.");
                let op = describe::replaces::<QueueBinding>(op, EXAMPLE);
                describe::answers::<201, QueueBinding>(describe::answers::<200, QueueBinding>(op))
            })
            .patch_with(write::patch::<QueueBinding>, move |op| {
                let op = operation(op, "patchQueueIntegration", "Change a queue's integration", Scope::Manage);
                let op = describe::patches::<QueueBinding>(op, r#"{"start_on_transfer":false}"#);
                describe::answers::<200, QueueBinding>(op)
            })
            .delete_with(write::delete::<QueueBinding>, move |op| {
                let op = operation(op, "deleteQueueIntegration", "Unbind a queue", Scope::Manage);
                let op = describe::more(op, "What is queued still goes out.");
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
        .api_route(
            &at("enable"),
            post_with(enable, |op| {
                let (id, summary) = ("enableQueueIntegration", format!("Enable {}", QueueBinding::NAME));
                let op = describe::more(
                    actions::operation(op, QueueBinding::TAG, id, &summary),
                    "The queue's events go to its integration again: `enabled` is true. An integration that is disabled \
                     stays so.",
                );
                describe::answers::<200, QueueBinding>(op)
            }),
        )
        .api_route(
            &at("disable"),
            post_with(disable, |op| {
                let (id, summary) = ("disableQueueIntegration", format!("Disable {}", QueueBinding::NAME));
                let op = describe::more(
                    actions::operation(op, QueueBinding::TAG, id, &summary),
                    "Nothing new goes to the integration because of this queue until it is enabled: `enabled` is false. The \
                     endpoint is the integration's, so what is queued still goes out, and no dead letters are made.",
                );
                describe::answers::<200, QueueBinding>(op)
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, QueueBinding::TAG, id, summary, Some(scope))
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
    /// Off: nothing new goes to the integration because of this queue; what is queued still goes out.
    #[serde(default = "yes")]
    enabled: bool,
    /// False: no messages of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<bool>,
    /// Of messages: in tickets of these states only. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket_statuses: Option<BTreeSet<TicketStatus>>,
    /// Id of the integration's endpoint. Read only.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    endpoint_id: String,
    /// Id of its subscription: `queue-` and the queue's id, of which all but letters, digits, `-`, `.`, `_` and `~` is
    /// percent-encoded (RFC 3986). Read only.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    subscription_id: String,
}

impl SecretFields for QueueBinding {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[];
}

impl Resource for QueueBinding {
    const PATH_ID: &'static str = "queue_id";
    const BODY_ID: &'static str = "queue_id";
    const HAS_PLATFORM_ID: bool = true;
    const READ_ONLY: &'static [&'static str] = &["endpoint_id", "subscription_id"];

    fn items(&self) -> Vec<(ItemKind, &str)> {
        vec![(ItemKind::Subscription, &self.subscription_id)]
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let subscription = tenant.subscriptions.iter().find(|subscription| View::Queue.is_of(&subscription.id, id))?;
        Some(Self::new(id.to_owned(), subscription))
    }

    fn check_new_id(id: &str) -> Result<(), Problem> {
        view::check_new_id::<Self>(id)
    }

    fn put(self, tenant: &mut Tenant, old: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let is_integration = |endpoint: &&Endpoint| View::Integration.is_of(&endpoint.id, &self.integration_id);
        let Some(endpoint) = tenant.endpoints.iter().find(is_integration) else {
            let problem = Problem::new(Code::InvalidBody);
            return Err(problem.error("/integration_id", "the tenant has no such integration"));
        };
        let item_id = old.map_or_else(|| View::Queue.item_id(&context.id), |old| old.subscription_id.clone());
        let types = [EventType::MESSAGE_RECEIVED, EventType::MESSAGE_SENT].map(TypePattern::Type);
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types.into(),
            queue_ids: Some(IdSet([context.id.clone()].into())),
            start_on_transfer: self.start_on_transfer,
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..view::empty_subscription(item_id, endpoint.id.clone())
        };
        Ok(ProblemScope { kind: ItemKind::Subscription, index: put_item(&mut tenant.subscriptions, subscription) })
    }

    fn remove(self, draft: &mut Draft, tenant: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        tenant.subscriptions.retain(|subscription| subscription.id != self.subscription_id);
        Ok(vec![(ItemKind::Subscription, self.subscription_id)])
    }
}

impl Listed for QueueBinding {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let bindings = Subscription::of_snapshot(tenant).into_iter().filter_map(|subscription| {
            let id = View::Queue.platform_id(&subscription.id)?;
            Some((subscription.id.as_str(), Self::new(id, subscription)))
        });
        let (bindings, next) = page.cut(bindings);
        (bindings.iter().map(Resource::shown).collect(), next)
    }
}

impl HasEndpoint for QueueBinding {
    const PATH: &'static str = "/v1/tenants/{tenant}/queues/{queue_id}/integration";
    const TAG: &'static str = "integrations";
    const OPERATION: &'static str = "QueueIntegration";
    const NAME: &'static str = "a queue's integration";

    fn endpoint_id(&self) -> &str {
        &self.endpoint_id
    }
}

impl QueueBinding {
    fn new(queue_id: String, subscription: &Subscription) -> Self {
        let endpoint_id = &subscription.endpoint_id;
        Self {
            queue_id,
            // A file may bind a queue to an endpoint that is no integration. The answer then shows that endpoint's own
            // id.
            integration_id: View::Integration.platform_id(endpoint_id).unwrap_or_else(|| endpoint_id.clone()),
            start_on_transfer: subscription.start_on_transfer,
            enabled: subscription.enabled,
            groups: subscription.groups,
            ticket_statuses: subscription.ticket_statuses.clone(),
            endpoint_id: endpoint_id.clone(),
            subscription_id: subscription.id.clone(),
        }
    }
}

async fn enable(request: RequestContext) -> Result<Response, Problem> {
    set_enabled(&request, true).await
}

async fn disable(request: RequestContext) -> Result<Response, Problem> {
    set_enabled(&request, false).await
}

async fn set_enabled(request: &RequestContext, enabled: bool) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let acted = act(request, &authorized, move |tenant, binding: &QueueBinding| {
        item_mut::<Subscription>(tenant, &binding.subscription_id)?.enabled = enabled;
        Ok(Object::new())
    });
    Ok(acted.await?.respond())
}
