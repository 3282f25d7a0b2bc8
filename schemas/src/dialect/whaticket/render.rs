//! Writes Whaticket's bodies. Fields are in wire order.

use serde::Serialize;

use super::ticket_data::{Contact, TicketData};
use crate::{
    Change, ChangedTag, ChatMessage, Direction, Envelope, Event, FormatOptions, Id, MediaBodies, StatusSnapshot,
    dialect::{media, phone, render::json},
};

/// The vendor's name of the body that carries a file.
pub(super) const FILE: &str = "fila-data";

/// Renders the bodies of an event in the vendor's order; none when Whaticket has no such event.
pub(in crate::dialect) fn event(envelope: &Envelope<'_>, options: &FormatOptions) -> Vec<Vec<u8>> {
    let bodies = match envelope.event.event_type.as_str() {
        "ticket.opened" => status(envelope, options, "open").map(|body| vec![body]),
        "ticket.closed" => status(envelope, options, "closed").map(|body| vec![body]),
        "ticket.tags_changed" => tags(&envelope.event).map(|body| vec![body]),
        "message.received" | "message.sent" => Some(message(envelope, options)),
        _ => None,
    };
    bodies.unwrap_or_default()
}

/// Renders the event's message, also for a transfer: `start`, and for a file also `fila-data`. A `fila-data` that was
/// received without `start` is sent without it.
pub(in crate::dialect) fn message(envelope: &Envelope<'_>, options: &FormatOptions) -> Vec<Vec<u8>> {
    let event = &envelope.event;
    let Some(message) = &event.message else { return Vec::new() };
    let is_lone_file = event.source.event.as_deref() == Some(FILE);
    let has_file = is_lone_file || media::file_location(event, message).name.is_some();
    let wants_start = !is_lone_file && (!has_file || options.media != MediaBodies::File);
    let wants_file = has_file && options.media != MediaBodies::Start;
    let start = wants_start.then(|| start(event, message, options)).flatten();
    let file = wants_file.then(|| file(event, message, options)).flatten();
    start.into_iter().chain(file).collect()
}

#[derive(Serialize)]
struct Start<'a> {
    filaescolhida: Option<&'a str>,
    filaescolhidaid: Option<&'a Id>,
    mensagem: Option<&'a str>,
    sender: Option<&'a str>,
    #[serde(rename = "chamadoId")]
    chamado_id: Option<&'a Id>,
    acao: &'static str,
    name: Option<&'a str>,
    #[serde(rename = "companyId")]
    company_id: Option<&'a Id>,
    #[serde(rename = "defaultWhatsapp_x")]
    default_whatsapp: &'a Id,
    #[serde(rename = "fromMe")]
    from_me: bool,
    #[serde(rename = "queueId")]
    queue_id: Option<&'a Id>,
    #[serde(rename = "isGroup")]
    is_group: bool,
    #[serde(rename = "ticketData")]
    ticket_data: TicketData<'a>,
}

fn start(event: &Event, message: &ChatMessage, options: &FormatOptions) -> Option<Vec<u8>> {
    let (ticket, contact, channel_id) = (event.ticket.as_ref()?, event.contact.as_ref()?, event.channel.id.as_ref()?);
    let queue_id = ticket.queue.as_ref().and_then(|queue| queue.id.as_ref());
    let sender = contact.number.as_deref().map(phone::digits);
    let direction = event.message_direction(message);
    Some(json(&Start {
        filaescolhida: ticket.queue.as_ref().and_then(|queue| queue.name.as_deref()),
        filaescolhidaid: queue_id,
        mensagem: message.text.as_deref(),
        sender,
        chamado_id: ticket.id.as_ref(),
        acao: "start",
        name: contact.pushname.as_deref().or(nameless(contact, direction)),
        company_id: event.tenant.id.as_ref(),
        default_whatsapp: channel_id,
        from_me: direction == Direction::Outbound,
        queue_id,
        is_group: ticket.is_group,
        ticket_data: TicketData::of(event, ticket, contact, ticket.status.as_deref(), options),
    }))
}

/// The value of `name` when the contact has no push name.
pub(super) fn nameless(contact: &crate::Contact, direction: Direction) -> Option<&str> {
    match direction {
        Direction::Inbound => contact.name.as_deref(),
        Direction::Outbound => contact.number.as_deref().map(phone::digits),
    }
}

#[derive(Serialize)]
struct File<'a> {
    sender: Option<&'a str>,
    #[serde(rename = "chamadoId")]
    chamado_id: Option<&'a Id>,
    acao: &'static str,
    #[serde(rename = "companyId")]
    company_id: Option<&'a Id>,
    #[serde(rename = "defaultWhatsapp_x")]
    default_whatsapp: &'a Id,
    #[serde(rename = "fromMe")]
    from_me: bool,
    #[serde(rename = "queueId")]
    queue_id: Option<&'a Id>,
    #[serde(rename = "isGroup")]
    is_group: bool,
    #[serde(rename = "ticketData")]
    ticket_data: TicketData<'a>,
    #[serde(rename = "mediaFolder")]
    media_folder: Option<&'a str>,
    #[serde(rename = "mediaName")]
    media_name: Option<&'a str>,
    #[serde(rename = "backendUrl")]
    backend_url: Option<&'a str>,
}

fn file(event: &Event, message: &ChatMessage, options: &FormatOptions) -> Option<Vec<u8>> {
    let (ticket, contact, channel_id) = (event.ticket.as_ref()?, event.contact.as_ref()?, event.channel.id.as_ref()?);
    let location = media::file_location(event, message);
    Some(json(&File {
        sender: contact.number.as_deref().map(phone::digits),
        chamado_id: ticket.id.as_ref(),
        acao: FILE,
        company_id: event.tenant.id.as_ref(),
        default_whatsapp: channel_id,
        from_me: event.message_direction(message) == Direction::Outbound,
        queue_id: ticket.queue.as_ref().and_then(|queue| queue.id.as_ref()),
        is_group: ticket.is_group,
        ticket_data: TicketData::of(event, ticket, contact, ticket.status.as_deref(), options),
        media_folder: location.folder,
        media_name: location.name,
        backend_url: location.base_url,
    }))
}

#[derive(Serialize)]
struct Status<'a> {
    sender: Option<&'a str>,
    #[serde(rename = "chamadoId")]
    chamado_id: Option<&'a Id>,
    acao: &'static str,
    #[serde(rename = "companyId")]
    company_id: Option<&'a Id>,
    #[serde(rename = "defaultWhatsapp_x")]
    default_whatsapp: &'a Id,
    #[serde(rename = "queueId")]
    queue_id: Option<&'a Id>,
    #[serde(rename = "isGroup")]
    is_group: bool,
    #[serde(rename = "ticketData")]
    ticket_data: TicketData<'a>,
}

fn status(envelope: &Envelope<'_>, options: &FormatOptions, acao: &'static str) -> Option<Vec<u8>> {
    let event = &envelope.event;
    let (ticket, contact, channel_id) = (event.ticket.as_ref()?, event.contact.as_ref()?, event.channel.id.as_ref()?);
    let before = match &event.change {
        Some(Change::Status { from, .. }) if options.status_snapshot == StatusSnapshot::Before => from.as_deref(),
        _ => None,
    };
    Some(json(&Status {
        sender: contact.number.as_deref().map(phone::digits),
        chamado_id: ticket.id.as_ref(),
        acao,
        company_id: event.tenant.id.as_ref(),
        default_whatsapp: channel_id,
        queue_id: ticket.queue.as_ref().and_then(|queue| queue.id.as_ref()),
        is_group: ticket.is_group,
        ticket_data: TicketData::of(event, ticket, contact, before.or(ticket.status.as_deref()), options),
    }))
}

#[derive(Serialize)]
struct TagSync<'a> {
    action: &'static str,
    tags: SyncedTags<'a>,
    contact: Contact<'a>,
}

#[derive(Serialize)]
struct SyncedTags<'a> {
    #[serde(rename = "ticketId")]
    ticket_id: Option<&'a Id>,
    tags: Vec<SyncedTag<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncedTag<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    color: Option<&'a str>,
    kanban: Option<i64>,
    prioridade: Option<i64>,
    conversao: Option<&'a str>,
    company_id: Option<&'a Id>,
    created_at: Option<&'a str>,
    updated_at: Option<&'a str>,
}

fn tags(event: &Event) -> Option<Vec<u8>> {
    let (ticket, contact) = (event.ticket.as_ref()?, event.contact.as_ref()?);
    let Some(Change::Tags { to, .. }) = &event.change else { return None };
    Some(json(&TagSync {
        action: "tag-sync",
        tags: SyncedTags { ticket_id: ticket.id.as_ref(), tags: to.iter().flatten().map(SyncedTag::of).collect() },
        contact: Contact::of(contact),
    }))
}

impl<'a> SyncedTag<'a> {
    fn of(tag: &'a ChangedTag) -> Self {
        Self {
            id: tag.id.as_ref(),
            name: tag.name.as_deref(),
            color: tag.color.as_deref(),
            kanban: tag.kanban,
            prioridade: tag.prioridade,
            conversao: tag.conversao.as_deref(),
            company_id: tag.tenant_id.as_ref(),
            created_at: tag.created_at.as_deref(),
            updated_at: tag.updated_at.as_deref(),
        }
    }
}
