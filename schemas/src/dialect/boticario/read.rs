//! Reads Boticário's bodies: a client's response, and a new status of a sent message. They have no tickets and no channels.

use crate::{Actor, Change, ChatMessage, Contact, Direction, Event, EventType, Media, dialect::fields::Fields};

/// The event in a body; none when its kind is unknown.
pub(in crate::dialect) fn event(body: &Fields<'_>) -> Option<Event> {
    let (what, message) = (body.object("event")?, body.object("message")?);
    let kind = what.text("type")?;
    let mut event = match kind.as_str() {
        "response" => response(body, &message),
        "status" => status(&what, &message),
        _ => return None,
    };
    event.source.event = Some(kind);
    event.tenant.id = message.id("appId");
    event.channel.kind = Some("whatsapp".to_owned());
    if let Some(message) = &mut event.message {
        message.provider_id = what.id("messageId");
    }
    Some(event)
}

fn response(body: &Fields<'_>, message: &Fields<'_>) -> Event {
    let mut event = Event::new(EventType::MESSAGE_RECEIVED);
    let client = body.object("clientData");
    let at = client.as_ref().and_then(|client| client.time("timeLastMessage"));
    event.occurred_at = at.or_else(|| message.time("updatedAt")).or_else(|| message.time("createdAt"));
    event.actor = Some(Actor { kind: Some("contact".to_owned()), user: None });
    event.contact = Some(match client {
        Some(client) => Contact {
            name: client.text("name"),
            number: client.text("number"),
            last_message_at: client.text("timeLastMessage"),
            ..Contact::default()
        },
        None => Contact { number: message.text("from"), ..Contact::default() },
    });
    event.message = Some(message_of(message, Direction::Inbound));
    event
}

fn status(what: &Fields<'_>, message: &Fields<'_>) -> Event {
    let mut event = Event::new(EventType::MESSAGE_STATUS_CHANGED);
    event.occurred_at = message.time("updatedAt").or_else(|| message.time("createdAt"));
    event.change = Some(Change::MessageStatus { from: None, to: what.text("status") });
    event.message = Some(message_of(message, Direction::Outbound));
    event
}

fn message_of(message: &Fields<'_>, direction: Direction) -> ChatMessage {
    ChatMessage {
        id: message.id("messageId"),
        conversation_id: message.id("interactionsId"),
        context_id: message.id("contextId"),
        direction: Some(direction),
        media_type: message.text("mediaType"),
        text: message.text("message"),
        media: message.object("mediaData").map(|media| Media {
            url: media.text("link"),
            caption: media.text("caption"),
            filename: media.text("filename"),
            ..Media::default()
        }),
        status: message.text("status"),
        to: message.text("to"),
        from: message.text("from"),
        created_at: message.text("createdAt"),
        updated_at: message.text("updatedAt"),
        ..ChatMessage::default()
    }
}
