//! Writes Boticário's bodies. Fields are in wire order; every id is a string.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    Change, ChatMessage, Direction, Envelope, Event, FormatOptions, Id,
    dialect::{media, phone, render::json},
    time::rfc3339,
};

const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

/// Renders one body, or none when Boticário has no such event.
pub(in crate::dialect) fn event(envelope: &Envelope<'_>, options: &FormatOptions) -> Vec<Vec<u8>> {
    match envelope.event.event_type.as_str() {
        "message.received" => message(envelope, options),
        "message.status_changed" => status(envelope),
        _ => Vec::new(),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    event: What<'a>,
    #[serde(rename = "clientData", skip_serializing_if = "Option::is_none")]
    client_data: Option<ClientData<'a>>,
    message: MessageData<'a>,
}

#[derive(Serialize)]
struct What<'a> {
    #[serde(rename = "messageId")]
    message_id: Option<&'a str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientData<'a> {
    number: Option<Cow<'a, str>>,
    name: Option<&'a str>,
    time_last_message: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageData<'a> {
    message_id: Option<&'a str>,
    context_id: Option<&'a str>,
    interactions_id: Option<&'a str>,
    media_type: Option<&'a str>,
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_data: Option<MediaData<'a>>,
    to: Option<Cow<'a, str>>,
    from: Option<Cow<'a, str>>,
    app_id: Option<&'a str>,
    status: &'a str,
    created_at: Cow<'a, str>,
    updated_at: Cow<'a, str>,
}

#[derive(Serialize)]
struct MediaData<'a> {
    link: Option<Cow<'a, str>>,
    caption: Option<&'a str>,
    filename: Option<&'a str>,
}

/// Renders the client's message as a response, also for a transfer: one body, or none.
pub(in crate::dialect) fn message(envelope: &Envelope<'_>, _: &FormatOptions) -> Vec<Vec<u8>> {
    let event = &envelope.event;
    let (Some(contact), Some(message)) = (&event.contact, &event.message) else { return Vec::new() };
    let data = MessageData::of(envelope, message);
    let client_data = ClientData {
        number: contact.number.as_deref().map(phone::e164),
        name: contact.name.as_deref(),
        time_last_message: contact.last_message_at.as_deref().map_or(data.created_at.clone(), Cow::Borrowed),
    };
    let what = What { message_id: provider_id(message), r#type: "response", status: None };
    vec![json(&Body { event: what, client_data: Some(client_data), message: data })]
}

fn status(envelope: &Envelope<'_>) -> Vec<Vec<u8>> {
    let (Some(message), Some(Change::MessageStatus { to: Some(to), .. })) =
        (&envelope.event.message, &envelope.event.change)
    else {
        return Vec::new();
    };
    if !STATUSES.contains(&to.as_str()) {
        return Vec::new();
    }
    let what = What { message_id: provider_id(message), r#type: "status", status: Some(to) };
    vec![json(&Body { event: what, client_data: None, message: MessageData::of(envelope, message) })]
}

fn provider_id(message: &ChatMessage) -> Option<&str> {
    message.provider_id.as_ref().or(message.id.as_ref()).map(Id::text)
}

impl<'a> MessageData<'a> {
    fn of(envelope: &'a Envelope<'_>, message: &'a ChatMessage) -> Self {
        let event = &envelope.event;
        let (to, from) = numbers(event, message);
        let uuid = || event.ticket.as_ref().and_then(|ticket| ticket.uuid.as_deref());
        let created_at = created_at(envelope, message);
        Self {
            message_id: message.id.as_ref().map(Id::text),
            context_id: message.context_id.as_ref().map(Id::text),
            interactions_id: message.conversation_id.as_ref().map(Id::text).or_else(uuid),
            media_type: media::kind(message, "text").map(|kind| if kind == "application" { "document" } else { kind }),
            message: message.text.as_deref(),
            media_data: message.media.as_ref().map(|media| MediaData {
                link: media::url(event, message),
                caption: media.caption.as_deref(),
                filename: media.filename.as_deref().or(media.name.as_deref()),
            }),
            to: to.map(phone::e164),
            from: from.map(phone::e164),
            app_id: event.tenant.id.as_ref().map(Id::text),
            status: message.status.as_deref().unwrap_or("stored"),
            updated_at: message.updated_at.as_deref().map_or(created_at.clone(), Cow::Borrowed),
            created_at,
        }
    }
}

/// Recipient and sender: the message's own, otherwise the two ends in the order of its direction.
fn numbers<'a>(event: &'a Event, message: &'a ChatMessage) -> (Option<&'a str>, Option<&'a str>) {
    let ours = event.channel.address.as_deref();
    let theirs = event.contact.as_ref().and_then(|contact| contact.number.as_deref());
    let (to, from) = match event.message_direction(message) {
        Direction::Inbound => (ours, theirs),
        Direction::Outbound => (theirs, ours),
    };
    (message.to.as_deref().or(to), message.from.as_deref().or(from))
}

fn created_at<'a>(envelope: &'a Envelope<'_>, message: &'a ChatMessage) -> Cow<'a, str> {
    if let Some(created_at) = &message.created_at {
        return Cow::Borrowed(created_at);
    }
    let sent_at = message.sent_at_ms.and_then(|ms| u64::try_from(ms).ok());
    Cow::Owned(rfc3339(sent_at.unwrap_or(envelope.occurred_at_ms)))
}
