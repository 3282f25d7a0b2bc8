//! A channel's webhook: a URL and boxes to tick, as on WHAZING's screen of a channel.

use std::{collections::BTreeSet, sync::Arc};

use schemars::JsonSchema;
use schemas::{
    Endpoint, EndpointState, EventType, Format, FormatOptions, IdSet, Scope, Secret, SecretField, SecretFields,
    SecretForm, Subscription, Tenant, TicketStatus, TypePattern,
};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    describe,
    page::Page,
    read::{list, show},
    resource::{ChangeContext, Listed, Resource},
    tenant_item::{TenantItem as _, put_item},
    view::{self, CHANNEL, whazing},
    write,
};
use crate::{
    Control,
    settings::{Object, ProblemScope},
};

const EXAMPLE: &str = r#"{"enabled":true,"url":"https://n8n.example/webhook/1","events":["new_ticket","received"],"n8n_api_key":"its key"}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/channels",
            get_with(list::<ChannelWebhook>, move |op| {
                let op = operation(op, "listChannelWebhooks", "List channels with a webhook", Scope::Read);
                describe::answers::<200, describe::PageSchema<ChannelWebhook>>(describe::paged(op))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/channels/{channel_id}/webhook",
            get_with(show::<ChannelWebhook>, move |op| {
                let op = operation(op, "getChannelWebhook", "Show a channel's webhook", Scope::Read);
                describe::answers::<200, ChannelWebhook>(op)
            })
            .put_with(write::replace::<ChannelWebhook>, move |op| {
                let op = operation(op, "putChannelWebhook", "Set a channel's webhook", Scope::Manage);
                let op =
                    describe::more(op, "No event ticked: nothing is sent. `new_ticket` is both ways a ticket is made.");
                let op = describe::conditional(describe::takes::<ChannelWebhook>(op, EXAMPLE));
                describe::answers::<201, ChannelWebhook>(describe::answers::<200, ChannelWebhook>(op))
            })
            .patch_with(write::patch::<ChannelWebhook>, move |op| {
                let op = operation(op, "patchChannelWebhook", "Change a channel's webhook", Scope::Manage);
                let op = describe::takes_patch::<ChannelWebhook>(op, r#"{"events":["received","sent"]}"#);
                describe::answers::<200, ChannelWebhook>(describe::conditional(op))
            })
            .delete_with(write::delete::<ChannelWebhook>, move |op| {
                let op = operation(op, "deleteChannelWebhook", "Delete a channel's webhook", Scope::Manage);
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, "channels", id, summary, Some(scope))
}

/// A channel's webhook.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelWebhook {
    /// The channel's id, as in the path.
    #[serde(default)]
    channel_id: String,
    /// Off: nothing new is sent; what is queued still goes out.
    #[serde(default = "yes")]
    enabled: bool,
    /// `http` or `https`; without user or password.
    url: String,
    /// What is sent. None: nothing.
    #[serde(default)]
    events: BTreeSet<TickedEvent>,
    /// Sent as `X-N8N-API-KEY`, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n8n_api_key: Option<Secret>,
    /// The shape of what is sent.
    #[serde(default = "whazing")]
    format: Format,
    /// Fine points of the shape.
    #[serde(default)]
    format_options: FormatOptions,
    /// False: no messages of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<bool>,
    /// Of messages: in tickets of these states only. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket_statuses: Option<BTreeSet<TicketStatus>>,
    /// Read only, and passed over in a body. Disabled: nothing is posted, by `POST …/endpoints/channel-<id>/disable` or
    /// because the receiver answered 410; `enable` there ends that.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    state: EndpointState,
    /// Why it is disabled. Read only, and passed over in a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    disabled_reason: Option<String>,
}

fn yes() -> bool {
    true
}

/// A box that can be ticked on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Ticked")]
pub enum TickedEvent {
    /// A ticket is made, by a contact or by an attendant.
    NewTicket,
    /// A ticket goes to another department or attendant.
    Transferred,
    /// A ticket is finished.
    Closed,
    /// A message comes in.
    Received,
    /// A message goes out.
    Sent,
}

impl TickedEvent {
    const ALL: [Self; 5] = [Self::NewTicket, Self::Transferred, Self::Closed, Self::Received, Self::Sent];

    fn event_type(self) -> EventType {
        match self {
            Self::NewTicket => EventType::TICKET_CREATED,
            Self::Transferred => EventType::TICKET_TRANSFERRED,
            Self::Closed => EventType::TICKET_CLOSED,
            Self::Received => EventType::MESSAGE_RECEIVED,
            Self::Sent => EventType::MESSAGE_SENT,
        }
    }
}

impl SecretFields for ChannelWebhook {
    const SECRET_FIELDS: &'static [SecretField<Self>] =
        &[SecretField { name: "n8n_api_key", form: SecretForm::HeaderValue(|webhook| webhook.n8n_api_key.as_ref()) }];
}

impl Resource for ChannelWebhook {
    const PATH_ID: &'static str = "channel_id";
    const BODY_ID: &'static str = "channel_id";
    const HAS_PLATFORM_ID: bool = true;
    const KINDS: &'static [ItemKind] = &[ItemKind::Endpoint, ItemKind::Subscription];
    const READ_ONLY: &'static [&'static str] = &view::STATE;

    fn stored_id(id: &str) -> String {
        view::stored_id(CHANNEL, id)
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let stored_id = Self::stored_id(id);
        let endpoint = tenant.endpoints.iter().find(|endpoint| endpoint.id == stored_id)?;
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == stored_id);
        Some(Self::new(id.to_owned(), endpoint, subscription))
    }

    fn put(self, tenant: &mut Tenant, _: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let stored_id = Self::stored_id(&context.id);
        let types = self.events.iter().map(|event| TypePattern::Type(event.event_type())).collect();
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types,
            channel_ids: Some(IdSet([context.id.clone()].into())),
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..view::empty_subscription(stored_id.clone(), stored_id.clone())
        };
        let index = view::put_endpoint(tenant, &stored_id, &self.url, context, |endpoint| {
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
            endpoint.n8n_api_key = self.n8n_api_key;
        })?;
        put_item(&mut tenant.subscriptions, subscription);
        Ok(ProblemScope { kind: ItemKind::Endpoint, index })
    }

    fn remove(draft: &mut Draft, tenant: &str, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        Ok(view::remove_endpoint(tenant, &Self::stored_id(id)))
    }
}

impl Listed for ChannelWebhook {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let endpoints = Endpoint::of_snapshot(tenant).into_iter();
        let webhooks = endpoints.filter_map(|endpoint| {
            let id = view::platform_id(CHANNEL, &endpoint.id)?;
            let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == endpoint.id);
            Some((endpoint.id.as_str(), Self::new(id, endpoint, subscription)))
        });
        let (webhooks, next) = page.cut(webhooks);
        (webhooks.iter().map(Resource::shown).collect(), next)
    }
}

impl ChannelWebhook {
    fn new(channel_id: String, endpoint: &Endpoint, subscription: Option<&Subscription>) -> Self {
        let wants = |event: &TickedEvent| {
            let patterns = subscription.iter().flat_map(|one| &one.event_types);
            patterns.into_iter().any(|pattern| pattern.matches(&event.event_type()))
        };
        Self {
            channel_id,
            enabled: subscription.is_some_and(|subscription| subscription.enabled),
            url: endpoint.url.clone(),
            events: TickedEvent::ALL.into_iter().filter(wants).collect(),
            n8n_api_key: endpoint.n8n_api_key.clone(),
            format: endpoint.format,
            format_options: endpoint.format_options,
            groups: subscription.and_then(|subscription| subscription.groups),
            ticket_statuses: subscription.and_then(|subscription| subscription.ticket_statuses.clone()),
            state: endpoint.state,
            disabled_reason: endpoint.disabled_reason.clone(),
        }
    }
}
