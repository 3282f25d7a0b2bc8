//! A wish for some events, and whether an event is meant by it: [`Subscription::accepts`], one pure function.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EventFacts, pattern::TypePattern};

/// One endpoint's wish for some events: every dimension that applies to the event's type must match; within one, any
/// value does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Its own id, unique in the tenant.
    pub id: String,
    /// As shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where what it wants is posted.
    pub endpoint_id: String,
    /// Off: it wants nothing. What is queued still goes out.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Types, `entity.*` or `*`. Left out or empty: nothing, as when no box of a vendor's screen is ticked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub event_types: BTreeSet<TypePattern>,
    /// Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_ids: Option<IdSet>,
    /// `"-"` is "in no queue". Left out: any, also no queue. Empty: none. A transfer is in its target queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_ids: Option<IdSet>,
    /// Of messages received or sent. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directions: Option<BTreeSet<MessageDirection>>,
    /// Of messages. Left out: any. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_statuses: Option<BTreeSet<TicketStatus>>,
    /// False: no messages of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<bool>,
    /// A transfer to one of `queue_ids` is wanted too, whatever `event_types`, as the *shot*: the last received message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_on_transfer: bool,
}

fn yes() -> bool {
    true
}

/// The value of `queue_ids` that means "in no queue".
const NO_QUEUE: &str = "-";

/// Ids compared by their text; written as given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Vec<WrittenId>")]
#[schemars(with = "Vec<WrittenId>")]
pub struct IdSet(pub BTreeSet<String>);

/// An id in a configuration: an integer or a text.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a whole number or a text")]
enum WrittenId {
    Integer(i64),
    Text(String),
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

/// A ticket's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TicketStatus {
    /// Nobody works on it.
    Pending,
    /// Somebody does.
    Open,
    /// Finished.
    Closed,
}

impl TicketStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// How an event is meant. Both may hold: then an endpoint gets the transfer's body and the shot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The event itself is wanted.
    pub event: bool,
    /// The last received message is wanted, since the ticket came to a queue.
    pub shot: bool,
}

/// The first dimension in which an event was not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `event_types`.
    EventTypes,
    /// `channel_ids`.
    ChannelIds,
    /// `queue_ids`.
    QueueIds,
    /// `directions`.
    Directions,
    /// `ticket_statuses`.
    TicketStatuses,
    /// `groups`.
    Groups,
    /// A shot was wanted, but the transfer carries no message.
    NoLastMessage,
}

impl Subscription {
    /// Whether, and how, an event is wanted. Does not ask whether the subscription is enabled.
    ///
    /// # Errors
    /// The first dimension that did not match.
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
