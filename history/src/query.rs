//! What can be asked for, and where a page goes on.

use std::{fmt, str::FromStr};

use schemas::{DeadReason, OutcomeClass};

use crate::ContactToken;

/// Most items of one page.
pub const MAX_PAGE: usize = 1_000;

/// Which events or deliveries are meant: those that every given field allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// None for all tenants, which only the operator may ask for.
    pub tenant: Option<String>,
    /// Of a delivery.
    pub state: Option<DeliveryState>,
    /// On deliveries: to this endpoint. On events: with a delivery to it.
    pub endpoint_id: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub channel_id: Option<String>,
    pub queue_id: Option<String>,
    pub ticket_id: Option<String>,
    pub protocol: Option<String>,
    /// Number or id of a contact, in any notation.
    pub contact: Option<String>,
    /// Instead of a contact, its token in the tenant's history.
    pub contact_token: Option<ContactToken>,
    /// Class of the last attempt's outcome.
    pub outcome: Option<OutcomeClass>,
    /// Why the delivery is dead.
    pub reason: Option<DeadReason>,
    /// On events: whether they made a delivery.
    pub matched: Option<bool>,
    /// On events: whether they were erased. On deliveries: of such events.
    pub erased: Option<bool>,
    /// First acceptance at this time or later, in unix milliseconds.
    pub since: Option<u64>,
    /// First acceptance before this time, in unix milliseconds.
    pub until: Option<u64>,
    /// Any id of an event, a delivery, a ticket or a contact, a `webhook-id`, a protocol or a number.
    pub q: Option<String>,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageRequest {
    pub filter: Filter,
    /// At most [`MAX_PAGE`].
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// The place of an item in a list that is ordered by first acceptance, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// First acceptance of the item's event, in unix milliseconds.
    pub accepted_at: u64,
    /// What tells items of the same millisecond apart: the backend's own.
    pub place: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that an answer gave")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.accepted_at, self.place)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (accepted_at, place) = text.split_once('.').ok_or(InvalidCursor)?;
        let accepted_at = accepted_at.parse().map_err(|_| InvalidCursor)?;
        let is_plain =
            place.len() <= 200 && place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_plain { Ok(Self { accepted_at, place: place.to_owned() }) } else { Err(InvalidCursor) }
    }
}

/// How a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// An attempt is still to come.
    Waiting,
    Delivered,
    /// It ended without a 2xx.
    Dead,
}

impl DeliveryState {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Width of the points of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsBy {
    Hour,
    /// A day in UTC.
    Day,
}

/// Which counts are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsRequest {
    /// None for all tenants together.
    pub tenant: Option<String>,
    pub endpoint_id: Option<String>,
    /// Unix milliseconds, as the next.
    pub since: u64,
    pub until: u64,
    pub by: StatsBy,
}

/// What is erased of a tenant's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// All events of a contact, by the token that [`token`](crate::token) makes with the tenant's key.
    Contact(ContactToken),
    Events(Vec<String>),
}
