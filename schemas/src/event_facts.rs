//! What filters ask of an event, and nothing else.

use crate::{Change, Direction, Event, EventType, Id, subscription::MessageDirection};

/// An event as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'a> {
    /// Its type.
    pub event_type: &'a EventType,
    /// The channel's id.
    pub channel_id: Option<&'a str>,
    /// The queue the ticket is in after the event.
    pub queue_id: Option<&'a str>,
    /// Of `message.received` and `message.sent`; none otherwise.
    pub direction: Option<MessageDirection>,
    /// The ticket's state, as spelt.
    pub ticket_status: Option<&'a str>,
    /// Whether it happened in a group.
    pub is_group: bool,
    /// Whether it is a transfer to another queue.
    pub to_other_queue: bool,
    /// Whether it carries a message that was received: in a transfer, what the shot is made of.
    pub has_received_message: bool,
}

impl<'a> EventFacts<'a> {
    /// Those of an event.
    pub fn of(event: &'a Event) -> Self {
        let ticket = event.ticket.as_ref();
        let queue_id = ticket.and_then(|ticket| ticket.queue.as_ref()).and_then(|queue| queue.id.as_ref());
        Self {
            event_type: &event.event_type,
            channel_id: event.channel.id.as_ref().map(Id::text),
            queue_id: queue_id.map(Id::text),
            direction: match event.event_type.as_str() {
                "message.received" => Some(MessageDirection::Received),
                "message.sent" => Some(MessageDirection::Sent),
                _ => None,
            },
            ticket_status: ticket.and_then(|ticket| ticket.status.as_deref()),
            is_group: ticket.is_some_and(|ticket| ticket.is_group)
                || event.contact.as_ref().is_some_and(|contact| contact.is_group),
            to_other_queue: event.event_type == EventType::TICKET_TRANSFERRED
                && event.change.as_ref().is_some_and(Change::is_to_other_queue),
            has_received_message: event
                .message
                .as_ref()
                .is_some_and(|message| message.direction != Some(Direction::Outbound)),
        }
    }
}
