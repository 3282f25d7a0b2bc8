//! Reads Whaticket's bodies: messages, files, opened and closed tickets, tags. Other builds are read where their fields
//! are unambiguous: an older one writes `chamado` for `ticketData` and sends the whole contact as `sender`.

use super::render::{FILE, nameless};
use crate::{
    Actor, Change, ChangedTag, ChatMessage, Contact, Department, Direction, Event, EventId, EventType, Id, Media, Tag,
    TagLink, Ticket, User,
    dialect::{fields::Fields, phone},
};

/// The event in a body; none when its kind is unknown. `id` is also the message's id, because the body has none.
pub(in crate::dialect) fn event(body: &Fields<'_>, id: &EventId) -> Option<Event> {
    if body.text("action").as_deref() == Some("tag-sync") {
        return tags(body);
    }
    let acao = body.text("acao")?;
    let ticket = body.object("ticketData").or_else(|| body.object("chamado"))?;
    let mut event = match acao.as_str() {
        "start" | FILE => message(body, &ticket, &acao, id)?,
        "open" => status(EventType::TICKET_OPENED, "open", body, &ticket),
        "closed" => status(EventType::TICKET_CLOSED, "closed", body, &ticket),
        _ => return None,
    };
    event.source.event = Some(acao);
    event.occurred_at = ticket.time("updatedAt");
    Some(event)
}

fn message(body: &Fields<'_>, ticket: &Fields<'_>, acao: &str, id: &EventId) -> Option<Event> {
    let has_other_shape = body.json("mensagem").is_some_and(|text| text.starts_with(['[', '{']));
    if has_other_shape {
        return None;
    }
    let is_ours = body.flag("fromMe").unwrap_or(false);
    let direction = if is_ours { Direction::Outbound } else { Direction::Inbound };
    let event_type = if is_ours { EventType::MESSAGE_SENT } else { EventType::MESSAGE_RECEIVED };
    let mut event = with_ticket(event_type, body, ticket);
    let by_bot = ticket.flag("chatbot").unwrap_or(false);
    let sender = if !is_ours {
        "contact"
    } else if by_bot {
        "bot"
    } else {
        "user"
    };
    event.actor = Some(Actor { kind: Some(sender.to_owned()), user: None });
    if let Some(contact) = &mut event.contact {
        // The vendor writes another name here when the person has given none.
        contact.pushname = body.text("name").filter(|name| nameless(contact, direction) != Some(name));
    }
    event.source.base_url = body.text("backendUrl");
    let media = (acao == FILE).then(|| Media {
        folder: body.text("mediaFolder"),
        name: body.text("mediaName"),
        ..Media::default()
    });
    event.message = Some(ChatMessage {
        id: Some(Id::from_text(id.as_str())),
        direction: Some(direction),
        media_type: Some(media_type(media.as_ref()).to_owned()),
        text: body.text("mensagem"),
        media,
        ..ChatMessage::default()
    });
    Some(event)
}

/// Derives the kind of a message from the name of its file: Whaticket does not send it.
fn media_type(media: Option<&Media>) -> &'static str {
    let Some(media) = media else { return "chat" };
    let name = media.name.as_deref().unwrap_or_default().to_ascii_lowercase();
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "ogg" | "oga" | "opus" | "mp3" | "m4a" | "aac" | "amr" | "wav" => "audio",
        "jpg" | "jpeg" | "png" | "gif" | "webp" => "image",
        "mp4" | "3gp" | "mov" | "webm" | "mkv" => "video",
        _ => "document",
    }
}

/// Reads an opened or closed ticket. The body shows the ticket before the change; `acao` names the new status.
fn status(event_type: EventType, to: &str, body: &Fields<'_>, ticket: &Fields<'_>) -> Event {
    let mut event = with_ticket(event_type, body, ticket);
    event.change = Some(Change::Status { from: ticket.text("status"), to: Some(to.to_owned()) });
    if let Some(ticket) = &mut event.ticket {
        ticket.status = Some(to.to_owned());
    }
    event
}

fn tags(body: &Fields<'_>) -> Option<Event> {
    let synced = body.object("tags")?;
    let tags = synced.objects("tags");
    let mut event = Event::new(EventType::TICKET_TAGS_CHANGED);
    event.source.event = Some("tag-sync".to_owned());
    event.contact = body.object("contact").as_ref().map(contact);
    event.tenant.id = tags.iter().find_map(|tag| tag.id("companyId"));
    event.ticket =
        Some(Ticket { id: synced.id("ticketId"), tags: tags.iter().map(tag).collect(), ..Ticket::default() });
    event.change = Some(Change::Tags { from: None, to: Some(tags.iter().map(changed_tag).collect()) });
    Some(event)
}

/// Reads the fields that all bodies but that of tags share: tenant, connection, ticket and contact.
fn with_ticket(event_type: EventType, body: &Fields<'_>, ticket: &Fields<'_>) -> Event {
    let mut event = Event::new(event_type);
    event.tenant.id = body.id("companyId").or_else(|| ticket.id("companyId"));
    event.tenant.name = ticket.object("company").and_then(|company| company.text("name"));
    let whatsapp = ticket.object("whatsapp");
    let whatsapp_id = whatsapp.as_ref().and_then(|whatsapp| whatsapp.id("id"));
    event.channel.id = whatsapp_id.or_else(|| ticket.id("whatsappId")).or_else(|| body.id("defaultWhatsapp_x"));
    event.channel.name = whatsapp.as_ref().and_then(|whatsapp| whatsapp.text("name"));
    event.channel.webhook_url = whatsapp.as_ref().and_then(|whatsapp| whatsapp.text("webhook"));
    event.channel.kind = ticket.text("channel");
    event.contact = contact_of(body, ticket);
    event.ticket = Some(Ticket {
        id: ticket.id("id").or_else(|| body.id("chamadoId")),
        uuid: ticket.text("uuid"),
        status: ticket.text("status"),
        is_group: body.flag("isGroup").or_else(|| ticket.flag("isGroup")).unwrap_or(false),
        unread_messages: ticket.integer("unreadMessages"),
        last_message: ticket.text("lastMessage"),
        chatbot: ticket.flag("chatbot"),
        queue_option_id: ticket.id("queueOptionId"),
        queue: queue(body, ticket),
        assignee: assignee(ticket),
        tags: ticket.objects("tags").iter().map(tag).collect(),
        created_at: ticket.text("createdAt"),
        updated_at: ticket.text("updatedAt"),
        ..Ticket::default()
    });
    event
}

fn queue(body: &Fields<'_>, ticket: &Fields<'_>) -> Option<Department> {
    let queue = ticket.object("queue");
    let id = queue.as_ref().and_then(|queue| queue.id("id"));
    let id = id.or_else(|| ticket.id("queueId")).or_else(|| body.id("queueId"));
    let name = queue.as_ref().and_then(|queue| queue.text("name")).or_else(|| body.text("filaescolhida"));
    let color = queue.as_ref().and_then(|queue| queue.text("color"));
    (queue.is_some() || id.is_some()).then_some(Department { id, name, color })
}

fn assignee(ticket: &Fields<'_>) -> Option<User> {
    let user = ticket.object("user");
    let id = user.as_ref().and_then(|user| user.id("id")).or_else(|| ticket.id("userId"));
    let name = user.as_ref().and_then(|user| user.text("name"));
    (user.is_some() || id.is_some()).then_some(User { id, name, email: None })
}

/// The contact in the ticket, otherwise in `sender`.
fn contact_of(body: &Fields<'_>, ticket: &Fields<'_>) -> Option<Contact> {
    let shown = ticket.object("contact").or_else(|| body.object("sender")).as_ref().map(contact);
    shown.or_else(|| {
        let number = body.text("sender")?;
        Some(Contact {
            id: ticket.id("contactId"),
            number: Some(phone::digits(&number).to_owned()),
            ..Contact::default()
        })
    })
}

fn contact(contact: &Fields<'_>) -> Contact {
    Contact {
        id: contact.id("id"),
        name: contact.text("name"),
        number: contact.text("number"),
        email: contact.text("email"),
        profile_pic_url: contact.text("profilePicUrl"),
        accept_audio_message: contact.flag("acceptAudioMessage"),
        active: contact.flag("active"),
        disable_bot: contact.flag("disableBot"),
        extra_info: contact.opaque("extraInfo"),
        ..Contact::default()
    }
}

fn tag(tag: &Fields<'_>) -> Tag {
    let link = tag.object("TicketTag");
    Tag {
        id: tag.id("id"),
        name: tag.text("name"),
        color: tag.text("color"),
        link: link.map(|link| TagLink { created_at: link.text("createdAt"), updated_at: link.text("updatedAt") }),
    }
}

fn changed_tag(tag: &Fields<'_>) -> ChangedTag {
    ChangedTag {
        id: tag.id("id"),
        name: tag.text("name"),
        color: tag.text("color"),
        kanban: tag.integer("kanban"),
        prioridade: tag.integer("prioridade"),
        conversao: tag.text("conversao"),
        tenant_id: tag.id("companyId"),
        created_at: tag.text("createdAt"),
        updated_at: tag.text("updatedAt"),
    }
}
