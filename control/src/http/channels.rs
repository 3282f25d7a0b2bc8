//! A channel's webhook: a URL and boxes to tick, as on WHAZING's screen of a channel.

use std::{collections::BTreeSet, sync::Arc};

use aide::axum::{ApiRouter, routing::get_with};
use axum::response::Response;
use schemars::JsonSchema;
use schemas::{
    Endpoint, EndpointState, EventType, Format, FormatOptions, IdSet, Scope, Secret, Subscription, Tenant,
    TicketStatus, TypePattern,
};
use serde::{Deserialize, Serialize};
use service::problem::{Code, Problem};
use store::ItemKind;

use super::{
    call::Call,
    describe,
    owned::{
        CHANNEL, STATE, bare_subscription, owned_id, platform_id, put_endpoint, put_subscription, remove_endpoint,
        whazing,
    },
    page::{self, Page},
    resource::Resource as _,
    views::{self, View},
};
use crate::{
    Control,
    settings::{Field, Focus, Object, Reveal, Rules},
};

const EXAMPLE: &str = r#"{"enabled":true,"url":"https://n8n.example/webhook/1","events":["new_ticket","received"],"n8n_api_key":"its key"}"#;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let call = describe::call;
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/channels",
            get_with(list, move |op| {
                let op = call(op, "channels", "listChannelWebhooks", "List channels with a webhook", Some(Scope::Read));
                describe::answers::<200, describe::Page<ChannelWebhook>>(describe::paged(op))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/channels/{channel_id}/webhook",
            get_with(views::show::<ChannelWebhook>, move |op| {
                let op = call(op, "channels", "getChannelWebhook", "Show a channel's webhook", Some(Scope::Read));
                describe::answers::<200, ChannelWebhook>(op)
            })
            .put_with(views::replace::<ChannelWebhook>, move |op| {
                let op = call(op, "channels", "putChannelWebhook", "Set a channel's webhook", Some(Scope::Manage));
                let op =
                    describe::more(op, "No event ticked: nothing is sent. `new_ticket` is both ways a ticket is made.");
                let op = describe::conditional(describe::takes::<ChannelWebhook>(op, EXAMPLE));
                describe::answers::<201, ChannelWebhook>(describe::answers::<200, ChannelWebhook>(op))
            })
            .patch_with(views::patch::<ChannelWebhook>, move |op| {
                let op = call(op, "channels", "patchChannelWebhook", "Change a channel's webhook", Some(Scope::Manage));
                let op = describe::takes_patch::<ChannelWebhook>(op, r#"{"events":["received","sent"]}"#);
                describe::answers::<200, ChannelWebhook>(describe::conditional(op))
            })
            .delete_with(views::delete::<ChannelWebhook>, move |op| {
                let op =
                    call(op, "channels", "deleteChannelWebhook", "Delete a channel's webhook", Some(Scope::Manage));
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
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
    events: BTreeSet<Ticked>,
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

/// A box on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Ticked {
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

impl Ticked {
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

impl Reveal for ChannelWebhook {
    fn reveal_into(&self, object: &mut Object) {
        if let Some(key) = &self.n8n_api_key {
            object.insert("n8n_api_key".to_owned(), key.reveal().into());
        }
    }
}

impl View for ChannelWebhook {
    const PREFIX: &'static str = CHANNEL;
    const PART: &'static str = "channel_id";
    const KINDS: &'static [ItemKind] = &[ItemKind::Endpoint, ItemKind::Subscription];
    const KEPT: &'static [Field] = &[Field::One("n8n_api_key")];
    const DERIVED: &'static [&'static str] = &STATE;

    fn of(tenant: &Tenant, id: &str) -> Option<Self> {
        let owned = owned_id(CHANNEL, id);
        let endpoint = tenant.endpoints.iter().find(|endpoint| endpoint.id == owned)?;
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == owned);
        Some(Self::shown(id.to_owned(), endpoint, subscription))
    }

    fn put(self, tenant: &mut Tenant, id: &str, rules: &Rules) -> Result<Focus, Problem> {
        let owned = owned_id(CHANNEL, id);
        let types = self.events.iter().map(|ticked| TypePattern::Type(ticked.event_type())).collect();
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types,
            channel_ids: Some(IdSet([id.to_owned()].into())),
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..bare_subscription(owned.clone(), owned.clone())
        };
        let url = self.url;
        let index = put_endpoint(tenant, &owned, &url, rules, |endpoint| {
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
            endpoint.n8n_api_key = self.n8n_api_key;
        })?;
        put_subscription(tenant, subscription);
        Ok(Focus { kind: ItemKind::Endpoint, index })
    }

    fn remove(tenant: &mut Tenant, id: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        Ok(remove_endpoint(tenant, &owned_id(CHANNEL, id)))
    }
}

impl ChannelWebhook {
    fn shown(channel_id: String, endpoint: &Endpoint, subscription: Option<&Subscription>) -> Self {
        let wants = |ticked: &Ticked| {
            let patterns = subscription.iter().flat_map(|one| &one.event_types);
            patterns.into_iter().any(|pattern| pattern.matches(&ticked.event_type()))
        };
        Self {
            channel_id,
            enabled: subscription.is_some_and(|subscription| subscription.enabled),
            url: endpoint.url.clone(),
            events: Ticked::ALL.into_iter().filter(wants).collect(),
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

async fn list(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    let page = Page::of(&call.query(&page::PARAMETERS)?)?;
    let Some(tenant) = &who.tenant else { return Err(Code::NotFound.into()) };
    let endpoints = Endpoint::in_snapshot(tenant).into_iter().filter(|endpoint| endpoint.id.starts_with(CHANNEL));
    let webhooks = endpoints.filter_map(|endpoint| {
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == endpoint.id);
        let id = platform_id(CHANNEL, &endpoint.id)?;
        Some((endpoint.id.as_str(), ChannelWebhook::shown(id, endpoint, subscription)))
    });
    let (items, next) = page.cut(webhooks);
    Ok(page::answer(items, next))
}
