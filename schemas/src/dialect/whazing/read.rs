//! Reads WHAZING's bodies of all versions: that of the test button, those of a ticket's lifecycle (with `Type`), messages.

use crate::{
    Actor, Change, ChatMessage, Contact, Department, Direction, Event, EventType, Media, Opaque, Ticket, User,
    dialect::fields::Fields,
    json_text::{compact, without_secrets},
    time::rfc3339,
};

/// The event in a body; none when its kind is unknown.
pub(in crate::dialect) fn event(body: &Fields<'_>) -> Option<Event> {
    if body.text("event").as_deref() == Some("test") {
        return Some(test(body));
    }
    let ticket = body.object("ticket")?;
    match body.text("Type") {
        Some(kind) => lifecycle(body, &ticket, &kind),
        None if body.has("messageId") || body.has("messageBody") => Some(message(body, &ticket)),
        None => None,
    }
}

fn test(body: &Fields<'_>) -> Event {
    let mut event = Event::new(EventType::WEBHOOK_TEST);
    event.occurred_at = body.time("timestamp");
    event.source.event = Some("test".to_owned());
    event.actor = Some(actor("user", None));
    event
}

fn lifecycle(body: &Fields<'_>, ticket: &Fields<'_>, kind: &str) -> Option<Event> {
    let text = body.text("messageBody");
    let event_type = match kind {
        "NewTicketUserCreate" | "NewTicket" => EventType::TICKET_CREATED,
        "TransferTicket" => EventType::TICKET_TRANSFERRED,
        "ClosedTicket" => EventType::TICKET_CLOSED,
        _ => return None,
    };
    let mut event = with_ticket(event_type, body, ticket);
    event.source.event = Some(kind.to_owned());
    match kind {
        "NewTicketUserCreate" => event.actor = Some(actor("user", None)),
        "NewTicket" => {
            event.actor = Some(actor("contact", None));
            event.message = opening(text);
        }
        "TransferTicket" => event.change = Some(transfer(&event)),
        _ => event.change = Some(Change::Status { from: None, to: Some("closed".to_owned()) }),
    }
    if let Some(ticket) = event.ticket.as_mut().filter(|_| !kind.starts_with("NewTicket")) {
        ticket.last_message = body.text("messageBody");
    }
    Some(event)
}

/// The message that opened a ticket. WHAZING sends `""` when there was none.
fn opening(text: Option<String>) -> Option<ChatMessage> {
    let message = ChatMessage {
        direction: Some(Direction::Inbound),
        media_type: Some("chat".to_owned()),
        ..ChatMessage::default()
    };
    (text.as_deref() != Some("")).then_some(ChatMessage { text, ..message })
}

/// The change of a transfer. WHAZING does not send the previous department.
fn transfer(event: &Event) -> Change {
    let ticket = event.ticket.as_ref();
    Change::Queue {
        from: None,
        to: ticket.and_then(|ticket| ticket.queue.clone()),
        from_assignee: None,
        to_assignee: ticket.and_then(|ticket| ticket.assignee.clone()),
    }
}

fn message(body: &Fields<'_>, ticket: &Fields<'_>) -> Event {
    let is_ours = body.flag("fromMe").unwrap_or(false);
    let event_type = if is_ours { EventType::MESSAGE_SENT } else { EventType::MESSAGE_RECEIVED };
    let mut event = with_ticket(event_type, body, ticket);
    let sent_at_ms = body.epoch_ms("timestamp");
    event.source.event = Some("message".to_owned());
    event.occurred_at = sent_at_ms.and_then(|ms| u64::try_from(ms).ok()).map(rfc3339);
    event.participant = body.object("contactmessage").as_ref().map(contact);
    let author = body.object("user").as_ref().map(user);
    event.actor = sender(is_ours, author.as_ref(), body.text("sendType").as_deref());
    let (url, base64) = (body.text("mediaUrl"), body.text("mediaBase64"));
    event.message = Some(ChatMessage {
        id: body.id("messageId"),
        direction: Some(if is_ours { Direction::Outbound } else { Direction::Inbound }),
        media_type: body.text("mediaType"),
        text: body.text("messageBody"),
        media: (url.is_some() || base64.is_some()).then(|| Media { url, base64, ..Media::default() }),
        status: body.text("status"),
        send_type: body.text("sendType"),
        is_deleted: body.flag("isDeleted").unwrap_or(false),
        edited: body.flag("edited").unwrap_or(false),
        reactions: body.opaque("reactions"),
        author,
        sent_at_ms,
        raw: body.opaque("dataJson"),
        ..ChatMessage::default()
    });
    event
}

/// The sender of a message, if WHAZING names one.
fn sender(is_ours: bool, author: Option<&User>, send_type: Option<&str>) -> Option<Actor> {
    match (is_ours, author, send_type) {
        (false, _, _) => Some(actor("contact", None)),
        (true, Some(author), _) => Some(actor("user", Some(author.clone()))),
        (true, None, Some("bot" | "smartreception")) => Some(actor("bot", None)),
        (true, None, Some("API" | "external")) => Some(actor("api", None)),
        (true, None, Some("manual" | "chat")) => Some(actor("user", None)),
        (true, None, _) => None,
    }
}

fn actor(kind: &str, user: Option<User>) -> Actor {
    Actor { kind: Some(kind.to_owned()), user }
}

/// Reads the fields that all bodies but that of the test button share: ticket, contact and connection.
fn with_ticket(event_type: EventType, body: &Fields<'_>, ticket: &Fields<'_>) -> Event {
    let mut event = Event::new(event_type);
    event.contact = body.object("contact").as_ref().map(contact);
    event.channel.kind = Some("whatsapp".to_owned());
    if let Some(whatsapp) = body.object("whatsapp") {
        event.channel.id = whatsapp.id("id");
        event.channel.name = whatsapp.text("name");
    }
    let is_group_contact = event.contact.as_ref().is_some_and(|contact| contact.is_group);
    event.ticket = Some(Ticket {
        id: ticket.id("id"),
        status: ticket.text("status"),
        protocol: ticket.text("protocol"),
        external_key: ticket.object("apiConfig").and_then(|row| row.text("externalKey")),
        api_config: ticket.json("apiConfig").and_then(api_config),
        is_group: ticket.flag("isGroup").unwrap_or(is_group_contact),
        closing_reason_id: ticket.id("closingReasonId"),
        queue: ticket.id("queueId").map(|id| Department { id: Some(id), ..Department::default() }),
        assignee: ticket.id("userId").map(|id| User { id: Some(id), ..User::default() }),
        ..Ticket::default()
    });
    event
}

fn api_config(json: &str) -> Option<Opaque> {
    Opaque::from_json(&without_secrets(&compact(json))).ok()
}

fn contact(contact: &Fields<'_>) -> Contact {
    Contact {
        id: contact.id("id"),
        name: contact.text("name"),
        number: contact.text("phoneNumber"),
        email: contact.text("email"),
        profile_pic_url: contact.text("profilePicUrl"),
        is_group: contact.flag("isGroup").unwrap_or(false),
        pushname: contact.text("pushname"),
        lid: contact.text("lid"),
        kanban_id: contact.id("kanbanId"),
        followup_id: contact.id("followupId"),
        ..Contact::default()
    }
}

fn user(user: &Fields<'_>) -> User {
    User { id: user.id("id"), name: user.text("name"), email: user.text("email") }
}
