//! A channel's webhook: a URL and boxes to tick, as on WHAZING's screen of a channel.

use std::{collections::BTreeSet, sync::Arc};

use schemars::JsonSchema;
use schemas::{
    Endpoint, EndpointState, EventType, Format, FormatOptions, IdSet, Scope, Secret, SecretField, SecretFields,
    SecretForm, Signature, SigningSecret, Subscription, Tenant, TicketStatus, TypePattern, View, Warning, WarningCode,
};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    actions::HasEndpoint,
    describe,
    item_routes::WithShownOnce,
    page::Page,
    read::{list, show},
    resource::{ChangeContext, Listed, Resource},
    status,
    tenant_item::{TenantItem as _, put_item},
    view::{self, whazing, yes},
    write,
};
use crate::{
    Control,
    settings::{Generator, Object, ProblemScope},
};

const TAG: &str = "channels";

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
            ChannelWebhook::PATH,
            get_with(show::<ChannelWebhook>, move |op| {
                let op = operation(op, "getChannelWebhook", "Show a channel's webhook", Scope::Read);
                describe::answers::<200, ChannelWebhook>(describe::versioned(op))
            })
            .put_with(write::replace::<ChannelWebhook>, move |op| {
                let op = operation(op, "putChannelWebhook", "Set a channel's webhook", Scope::Manage);
                let op =
                    describe::more(op, "No event ticked: nothing is sent. `new_ticket` is both ways a ticket is made.");
                let op = describe::replaces::<ChannelWebhook>(op, EXAMPLE);
                let op = describe::answers::<200, describe::Changed<ChannelWebhook>>(op);
                describe::answers::<201, WithShownOnce<ChannelWebhook>>(op)
            })
            .patch_with(write::patch::<ChannelWebhook>, move |op| {
                let op = operation(op, "patchChannelWebhook", "Change a channel's webhook", Scope::Manage);
                let op = describe::patches::<ChannelWebhook>(op, r#"{"events":["received","sent"]}"#);
                describe::answers::<200, describe::Changed<ChannelWebhook>>(op)
            })
            .delete_with(write::delete::<ChannelWebhook>, move |op| {
                let op = operation(op, "deleteChannelWebhook", "Delete a channel's webhook", Scope::Manage);
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, TAG, id, summary, Some(scope))
}

/// A channel's webhook.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = schemas::show_health)]
pub(crate) struct ChannelWebhook {
    /// The channel's id, as in the path.
    #[serde(default)]
    channel_id: String,
    /// Off: events are passed over, and none is kept for later; what is queued still goes out. `POST …/disable` is another
    /// switch: it ends what is queued, and keeps everything as dead letters that can be replayed. `POST …/pause` makes what is
    /// queued wait.
    #[serde(default = "yes")]
    enabled: bool,
    /// `http` or `https`; without user or password.
    #[schemars(regex(pattern = schemas::pattern::HTTP_URL), extend("format" = "uri"))]
    url: String,
    /// What is sent. None: nothing.
    #[serde(default)]
    events: BTreeSet<TickedEvent>,
    /// Sent as `X-N8N-API-KEY`, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schemas::pattern::SECRET_HEADER_VALUE))]
    n8n_api_key: Option<Secret>,
    /// Signing secrets, newest first, as of an endpoint. Left out, a new one is made and shown this once, and stored ones are
    /// kept. Empty: requests are not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SigningSecret>,
    /// Kind of the newest secret, and of the one that is made when none is given. Left out, it is kept.
    #[serde(default)]
    signature: Signature,
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
    /// Public key that verifies the newest `v1a` signatures, `whpk_…`. It may be given to anyone. Read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    public_key: Option<String>,
    /// Read only, and passed over in a body. Disabled: nothing is posted, by `POST …/disable` or because the receiver answered
    /// 410. Paused: what is for it waits, by `POST …/pause`. `POST …/enable` ends either.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    state: EndpointState,
    /// Why it is disabled. Read only, and passed over in a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    disabled_reason: Option<String>,
    /// Id of its endpoint: `channel-` and the id above, of which all but letters, digits, `-`, `.`, `_` and `~` is
    /// percent-encoded (RFC 3986). Read only.
    #[serde(default)]
    #[schemars(extend("readOnly" = true))]
    endpoint_id: String,
    /// Id of its subscription. Read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    subscription_id: Option<String>,
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
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[
        SecretField { name: "n8n_api_key", form: SecretForm::HeaderValue(|webhook| webhook.n8n_api_key.as_ref()) },
        SecretField { name: "secrets", form: SecretForm::Signing(|webhook| &webhook.secrets) },
    ];
}

impl Resource for ChannelWebhook {
    const PATH_ID: &'static str = "channel_id";
    const BODY_ID: &'static str = "channel_id";
    const HAS_PLATFORM_ID: bool = true;
    const STATE: &'static [&'static str] = &["signature"];
    const READ_ONLY: &'static [&'static str] =
        &["public_key", "health", "state", "disabled_reason", "endpoint_id", "subscription_id"];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = Endpoint::ISSUED;

    fn observed(id: &str, tenant: &TenantSnapshot, control: &Control) -> Object {
        let shown = Self::in_snapshot(tenant, id);
        shown.map_or_else(Object::new, |shown| status::health(control, tenant, &shown.endpoint_id))
    }

    fn items(&self) -> Vec<(ItemKind, &str)> {
        let subscription = self.subscription_id.iter().map(|id| (ItemKind::Subscription, id.as_str()));
        std::iter::once((ItemKind::Endpoint, self.endpoint_id.as_str())).chain(subscription).collect()
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let endpoint = tenant.endpoints.iter().find(|endpoint| View::Channel.is_of(&endpoint.id, id))?;
        let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == endpoint.id);
        Some(Self::new(id.to_owned(), endpoint, subscription))
    }

    fn check_new_id(id: &str) -> Result<(), Problem> {
        view::check_new_id::<Self>(id)
    }

    fn generate(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        Endpoint::generate_fields(fields, generator)
    }

    fn put(self, tenant: &mut Tenant, old: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem> {
        let item_id = old.map_or_else(|| View::Channel.item_id(&context.id), |old| old.endpoint_id.clone());
        let types = self.events.iter().map(|event| TypePattern::Type(event.event_type())).collect();
        let subscription = Subscription {
            enabled: self.enabled,
            event_types: types,
            channel_ids: Some(IdSet([context.id.clone()].into())),
            groups: self.groups,
            ticket_statuses: self.ticket_statuses,
            ..view::empty_subscription(item_id.clone(), item_id.clone())
        };
        let index = view::put_endpoint(tenant, &item_id, &self.url, context, |endpoint| {
            (endpoint.format, endpoint.format_options) = (self.format, self.format_options);
            (endpoint.secrets, endpoint.signature) = (self.secrets, self.signature);
            endpoint.n8n_api_key = self.n8n_api_key;
        })?;
        put_item(&mut tenant.subscriptions, subscription);
        Ok(ProblemScope { kind: ItemKind::Endpoint, index })
    }

    fn warnings(&self, _: &Tenant) -> Vec<Warning> {
        let lacks = |event: &&TickedEvent| !self.format.has(&event.event_type());
        let warning = |event: &TickedEvent| {
            let message = format!("{}: the format {} has no such event", event.event_type(), self.format.as_str());
            Warning::new(WarningCode::NotInFormat, "/events", message)
        };
        self.events.iter().filter(lacks).map(warning).collect()
    }

    fn remove(self, draft: &mut Draft, tenant: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.tenant(tenant).map_err(|_| Code::NotFound)?;
        Ok(view::remove_endpoint(tenant, &self.endpoint_id))
    }
}

impl Listed for ChannelWebhook {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let endpoints = Endpoint::of_snapshot(tenant).into_iter();
        let webhooks = endpoints.filter_map(|endpoint| {
            let id = View::Channel.platform_id(&endpoint.id)?;
            let subscription = tenant.subscriptions.iter().find(|subscription| subscription.id == endpoint.id);
            Some((endpoint.id.as_str(), Self::new(id, endpoint, subscription)))
        });
        let (webhooks, next) = page.cut(webhooks);
        (webhooks.iter().map(Resource::shown).collect(), next)
    }
}

impl HasEndpoint for ChannelWebhook {
    const PATH: &'static str = "/v1/tenants/{tenant}/channels/{channel_id}/webhook";
    const TAG: &'static str = TAG;
    const OPERATION: &'static str = "ChannelWebhook";
    const NAME: &'static str = "a channel's webhook";

    fn endpoint_id(&self) -> &str {
        &self.endpoint_id
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
            secrets: endpoint.secrets.clone(),
            signature: endpoint.signature,
            format: endpoint.format,
            format_options: endpoint.format_options,
            groups: subscription.and_then(|subscription| subscription.groups),
            ticket_statuses: subscription.and_then(|subscription| subscription.ticket_statuses.clone()),
            public_key: endpoint.public_key(),
            state: endpoint.state,
            disabled_reason: endpoint.disabled_reason.clone(),
            endpoint_id: endpoint.id.clone(),
            subscription_id: subscription.map(|subscription| subscription.id.clone()),
        }
    }
}
