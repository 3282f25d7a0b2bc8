//! Writes WHAZING's bodies, versions 2.10 to 2.16. Fields are in wire order.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    Channel, ChatMessage, Direction, Envelope, Event, FormatOptions, Id, Opaque, Timestamp, WhazingShape,
    dialect::{media, phone, render::json},
};

/// Renders one body, or none when WHAZING has no such event.
pub(in crate::dialect) fn event(envelope: &Envelope<'_>, options: &FormatOptions) -> Vec<Vec<u8>> {
    let event = &envelope.event;
    let by_user = || event.actor.as_ref().is_some_and(|actor| actor.kind.as_deref() == Some("user"));
    let last_message = || event.ticket.as_ref().and_then(|ticket| ticket.last_message.as_deref());
    match event.event_type.as_str() {
        "ticket.created" if by_user() => lifecycle(event, "NewTicketUserCreate", Some("")),
        "ticket.created" => {
            let text = event.message.as_ref().map_or(Some(""), |message| message.text.as_deref());
            lifecycle(event, "NewTicket", text)
        }
        "ticket.transferred" => lifecycle(event, "TransferTicket", last_message()),
        "ticket.closed" => lifecycle(event, "ClosedTicket", last_message()),
        "message.received" | "message.sent" => message(envelope, options),
        "webhook.test" => vec![test(envelope)],
        _ => Vec::new(),
    }
}

pub(in crate::dialect) fn test(envelope: &Envelope<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Test<'a> {
        event: &'static str,
        origin: &'static str,
        timestamp: Option<&'a str>,
    }
    json(&Test { event: "test", origin: "webhook-config", timestamp: envelope.event.occurred_at.as_deref() })
}

#[derive(Serialize)]
struct Lifecycle<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "messageBody")]
    message_body: Option<&'a str>,
    ticket: LifecycleTicket<'a>,
    contact: Option<Contact<'a>>,
    whatsapp: Whatsapp<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleTicket<'a> {
    id: Option<&'a Id>,
    status: Option<&'a str>,
    protocol: Option<&'a str>,
    queue_id: Option<&'a Id>,
    user_id: Option<&'a Id>,
    api_config: Option<ApiConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closing_reason_id: Option<Option<&'a Id>>,
}

fn lifecycle(event: &Event, kind: &'static str, message_body: Option<&str>) -> Vec<Vec<u8>> {
    let (Some(ticket), Some(_)) = (&event.ticket, &event.channel.id) else { return Vec::new() };
    vec![json(&Lifecycle {
        kind,
        message_body,
        ticket: LifecycleTicket {
            id: ticket.id.as_ref(),
            status: ticket.status.as_deref(),
            protocol: ticket.protocol.as_deref(),
            queue_id: ticket.queue.as_ref().and_then(|queue| queue.id.as_ref()),
            user_id: ticket.assignee.as_ref().and_then(|user| user.id.as_ref()),
            api_config: ApiConfig::of(ticket),
            closing_reason_id: (kind == "ClosedTicket").then_some(ticket.closing_reason_id.as_ref()),
        },
        contact: event.contact.as_ref().map(Contact::of),
        whatsapp: Whatsapp::of(&event.channel),
    })]
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody<'a> {
    message_id: Option<&'a Id>,
    message_body: Option<&'a str>,
    timestamp: Time,
    status: Option<&'a str>,
    from_me: bool,
    media_type: Option<&'a str>,
    media_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_base64: Option<Option<&'a str>>,
    is_deleted: bool,
    send_type: Option<&'a str>,
    edited: bool,
    reactions: Option<&'a Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_json: Option<Option<DataJson<'a>>>,
    ticket: MessageTicket<'a>,
    contact: Option<Contact<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contactmessage: Option<Option<Contact<'a>>>,
    user: Option<User<'a>>,
    whatsapp: Whatsapp<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageTicket<'a> {
    id: Option<&'a Id>,
    status: Option<&'a str>,
    protocol: Option<&'a str>,
    queue_id: Option<&'a Id>,
    api_config: Option<ApiConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_group: Option<bool>,
}

/// Renders the event's message, also for a transfer: one body, or none.
pub(in crate::dialect) fn message(envelope: &Envelope<'_>, options: &FormatOptions) -> Vec<Vec<u8>> {
    let event = &envelope.event;
    let (Some(ticket), Some(message), Some(_)) = (&event.ticket, &event.message, &event.channel.id) else {
        return Vec::new();
    };
    let since_2_16 = options.shape == WhazingShape::V2_16;
    let participant = || event.participant.as_ref().filter(|_| ticket.is_group).map(Contact::of);
    vec![json(&MessageBody {
        message_id: message.id.as_ref(),
        message_body: message.text.as_deref(),
        timestamp: Time::of(envelope, message, options.timestamp),
        status: message.status.as_deref(),
        from_me: event.message_direction(message) == Direction::Outbound,
        media_type: media::kind(message, "chat"),
        media_url: media::url(event, message),
        media_base64: since_2_16.then(|| message.media.as_ref().and_then(|media| media.base64.as_deref())),
        is_deleted: message.is_deleted,
        send_type: message.send_type.as_deref(),
        edited: message.edited,
        reactions: message.reactions.as_ref(),
        data_json: since_2_16.then(|| message.raw.as_ref().map(DataJson::of)),
        ticket: MessageTicket {
            id: ticket.id.as_ref(),
            status: ticket.status.as_deref(),
            protocol: ticket.protocol.as_deref(),
            queue_id: ticket.queue.as_ref().and_then(|queue| queue.id.as_ref()),
            api_config: ApiConfig::of(ticket),
            is_group: since_2_16.then_some(ticket.is_group),
        },
        contact: event.contact.as_ref().map(Contact::of),
        contactmessage: since_2_16.then(participant),
        user: message.author.as_ref().map(User::of),
        whatsapp: Whatsapp::of(&event.channel),
    })]
}

#[derive(Serialize)]
#[serde(untagged)]
enum Time {
    Number(i64),
    Text(String),
}

impl Time {
    fn of(envelope: &Envelope<'_>, message: &ChatMessage, form: Timestamp) -> Self {
        let occurred_at = i64::try_from(envelope.occurred_at_ms).unwrap_or(i64::MAX);
        let ms = message.sent_at_ms.unwrap_or(occurred_at);
        match form {
            Timestamp::S => Self::Number(ms / 1_000),
            Timestamp::Ms => Self::Number(ms),
            Timestamp::String => Self::Text((ms / 1_000).to_string()),
        }
    }
}

/// The provider's message as a JSON string: a string stays as it is, anything else is put in quotes.
#[derive(Serialize)]
#[serde(untagged)]
enum DataJson<'a> {
    String(&'a Opaque),
    Other(&'a str),
}

impl<'a> DataJson<'a> {
    fn of(raw: &'a Opaque) -> Self {
        if raw.json().starts_with('"') { Self::String(raw) } else { Self::Other(raw.json()) }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum ApiConfig<'a> {
    Row(&'a Opaque),
    Key {
        #[serde(rename = "externalKey")]
        external_key: &'a str,
    },
}

impl<'a> ApiConfig<'a> {
    fn of(ticket: &'a crate::Ticket) -> Option<Self> {
        let key = || ticket.external_key.as_deref().map(|external_key| Self::Key { external_key });
        ticket.api_config.as_ref().map(Self::Row).or_else(key)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contact<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    phone_number: Option<&'a str>,
    profile_pic_url: Option<&'a str>,
    email: Option<&'a str>,
    is_group: bool,
    pushname: Option<&'a str>,
    lid: Option<&'a str>,
    kanban_id: Option<&'a Id>,
    followup_id: Option<&'a Id>,
}

impl<'a> Contact<'a> {
    fn of(contact: &'a crate::Contact) -> Self {
        Self {
            id: contact.id.as_ref(),
            name: contact.name.as_deref(),
            phone_number: contact.number.as_deref().map(phone::digits),
            profile_pic_url: contact.profile_pic_url.as_deref(),
            email: contact.email.as_deref(),
            is_group: contact.is_group,
            pushname: contact.pushname.as_deref(),
            lid: contact.lid.as_deref(),
            kanban_id: contact.kanban_id.as_ref(),
            followup_id: contact.followup_id.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct User<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    email: Option<&'a str>,
}

impl<'a> User<'a> {
    fn of(user: &'a crate::User) -> Self {
        Self { id: user.id.as_ref(), name: user.name.as_deref(), email: user.email.as_deref() }
    }
}

#[derive(Serialize)]
struct Whatsapp<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
}

impl<'a> Whatsapp<'a> {
    fn of(channel: &'a Channel) -> Self {
        Self { id: channel.id.as_ref(), name: channel.name.as_deref() }
    }
}
