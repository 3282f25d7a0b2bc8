//! Which events an endpoint receives: [`Subscription::accepts`], one pure function.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Change, Direction, Event, EventType, Id, TypePattern, pattern};

/// Which events one endpoint receives. Every dimension that applies to the event's type must match; within a dimension, any
/// of its values does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = require_queues)]
pub struct Subscription {
    /// Id, unique within the tenant.
    #[schemars(regex(pattern = pattern::ID_OR_VIEW))]
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Endpoint that the events are posted to.
    #[schemars(regex(pattern = pattern::ID_OR_VIEW))]
    pub endpoint_id: String,
    /// False: no event matches. Deliveries that wait already still go out.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Types, `entity.*` or `*`. `endpoint.failing`, `endpoint.recovered`, `delivery.delivered` and `delivery.dead` are not
    /// matched by `*`. Left out or empty: no event, as when no box is ticked on a vendor's screen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<TypePattern>")]
    pub event_types: BTreeSet<TypePattern>,
    /// Channels. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_ids: Option<IdSet>,
    /// Queues; `"-"` means "in no queue". Left out: any, and no queue. Empty: none. A transfer is in its target queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_ids: Option<IdSet>,
    /// Directions of messages. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<MessageDirection>>")]
    pub directions: Option<BTreeSet<MessageDirection>>,
    /// Statuses of the ticket of a message. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<TicketStatus>>")]
    pub ticket_statuses: Option<BTreeSet<TicketStatus>>,
    /// False: no messages of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<bool>,
    /// True: a transfer to one of `queue_ids` is posted too, whatever `event_types` say, as the *shot*: the last received
    /// message. Needs `queue_ids`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_on_transfer: bool,
}

/// Requires queues where a transfer to one of them is posted.
fn require_queues(schema: &mut Schema) {
    let starts = json!({"properties": {"start_on_transfer": {"const": true}}, "required": ["start_on_transfer"]});
    let has_queues = json!({"properties": {"queue_ids": {"type": "array", "minItems": 1}}, "required": ["queue_ids"]});
    schema.insert("if".to_owned(), starts);
    schema.insert("then".to_owned(), has_queues);
}

fn yes() -> bool {
    true
}

/// The value of `queue_ids` that means "in no queue".
pub const NO_QUEUE: &str = "-";

/// Ids, compared by their text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Vec<WrittenId>")]
#[schemars(with = "Vec<WrittenId>")]
pub struct IdSet(pub BTreeSet<String>);

/// An id in a configuration: an integer or a text.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a whole number or a text")]
enum WrittenId {
    Integer(i64),
    Text(#[schemars(length(min = 1))] String),
}

impl From<Vec<WrittenId>> for IdSet {
    fn from(ids: Vec<WrittenId>) -> Self {
        let text = |id| match id {
            WrittenId::Integer(number) => number.to_string(),
            WrittenId::Text(text) => text,
        };
        Self(ids.into_iter().map(text).collect())
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageDirection {
    /// `message.received`.
    Received,
    /// `message.sent`.
    Sent,
}

impl MessageDirection {
    /// Direction of a `message.received` or `message.sent`; none for other types.
    pub(crate) fn of(event_type: &EventType) -> Option<Self> {
        match event_type.as_str() {
            "message.received" => Some(Self::Received),
            "message.sent" => Some(Self::Sent),
            _ => None,
        }
    }
}

/// A ticket's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TicketStatus {
    /// Nobody works on the ticket.
    Pending,
    /// Somebody works on the ticket.
    Open,
    /// The ticket is closed.
    Closed,
}

impl TicketStatus {
    pub(crate) const NAMES: [&'static str; 3] = ["pending", "open", "closed"];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// The properties of an event that subscriptions compare.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'a> {
    pub event_type: &'a EventType,
    pub channel_id: Option<&'a str>,
    /// Id of the ticket's queue after the event.
    pub queue_id: Option<&'a str>,
    /// Direction of a `message.received` or `message.sent`; none for other types.
    pub direction: Option<MessageDirection>,
    /// The ticket's status, as spelt.
    pub ticket_status: Option<&'a str>,
    pub is_group: bool,
    pub to_other_queue: bool,
    /// True when the event has a received message, which becomes the shot of a transfer.
    pub has_received_message: bool,
}

impl<'a> EventFacts<'a> {
    pub fn of(event: &'a Event) -> Self {
        let ticket = event.ticket.as_ref();
        let queue_id = ticket.and_then(|ticket| ticket.queue.as_ref()).and_then(|queue| queue.id.as_ref());
        Self {
            event_type: &event.event_type,
            channel_id: event.channel.id.as_ref().map(Id::text),
            queue_id: queue_id.map(Id::text),
            direction: MessageDirection::of(&event.event_type),
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

/// Result of matching an event. If both are true, the endpoint gets the body of the transfer and the shot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub event: bool,
    /// The last received message is posted, because the ticket was transferred to a matching queue.
    pub shot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    EventTypes,
    ChannelIds,
    QueueIds,
    Directions,
    TicketStatuses,
    Groups,
    /// The shot would be posted, but the transfer has no message.
    NoLastMessage,
}

impl Mismatch {
    /// The word for it in explanations: the name of the dimension.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventTypes => "event_types",
            Self::ChannelIds => "channel_ids",
            Self::QueueIds => "queue_ids",
            Self::Directions => "directions",
            Self::TicketStatuses => "ticket_statuses",
            Self::Groups => "groups",
            Self::NoLastMessage => "no_last_message",
        }
    }

    /// Number of the dimensions that were compared before, and matched.
    pub fn matched_dimensions(self) -> usize {
        self as usize
    }
}

impl Subscription {
    /// Matches an event, or returns the first dimension that differs. Whether the subscription is enabled is not
    /// checked.
    pub fn accepts(&self, facts: &EventFacts<'_>) -> Result<Match, Mismatch> {
        let event = self.event_types.iter().any(|pattern| pattern.matches(facts.event_type));
        let transfer = self.start_on_transfer && self.queue_ids.is_some() && facts.to_other_queue;
        if !event && !transfer {
            return Err(Mismatch::EventTypes);
        }
        within(&self.channel_ids, facts.channel_id, Mismatch::ChannelIds)?;
        within(&self.queue_ids, Some(facts.queue_id.unwrap_or(NO_QUEUE)), Mismatch::QueueIds)?;
        if event && facts.event_type.is_message() {
            self.accepts_message(facts)?;
        }
        if !event && !facts.has_received_message {
            return Err(Mismatch::NoLastMessage);
        }
        Ok(Match { event, shot: transfer && facts.has_received_message })
    }

    fn accepts_message(&self, facts: &EventFacts<'_>) -> Result<(), Mismatch> {
        if let (Some(wanted), Some(direction)) = (&self.directions, facts.direction)
            && !wanted.contains(&direction)
        {
            return Err(Mismatch::Directions);
        }
        if let Some(wanted) = &self.ticket_statuses
            && !wanted.iter().any(|status| Some(status.name()) == facts.ticket_status)
        {
            return Err(Mismatch::TicketStatuses);
        }
        if self.groups == Some(false) && facts.is_group { Err(Mismatch::Groups) } else { Ok(()) }
    }
}

fn within(wanted: &Option<IdSet>, id: Option<&str>, mismatch: Mismatch) -> Result<(), Mismatch> {
    match wanted {
        Some(wanted) if !id.is_some_and(|id| wanted.0.contains(id)) => Err(mismatch),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
