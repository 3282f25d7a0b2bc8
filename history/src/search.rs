//! What a filter means: where to look for it, and what is looked at one by one.

use std::ops::ControlFlow;

use uuid::Uuid;

use crate::{
    ContactToken, Cursor, Filter,
    names::Names,
    normalized,
    row::{DeliveryKey, DeliveryRow, EventRow, State, signed},
    token,
};

/// Rows that one page looks at, at most: some 50 ms.
pub(crate) const BUDGET: usize = 20_000;

/// The place of an item in a list: of two, the greater comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) accepted_at: u64,
    pub(crate) event: i64,
    pub(crate) endpoint: i64,
    pub(crate) part: String,
}

impl Place {
    pub(crate) fn of_event(event: &EventRow) -> Self {
        Self { accepted_at: event.accepted_at, event: event.no, endpoint: 0, part: String::new() }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        let Self { accepted_at, event, endpoint, part } = self;
        Cursor { accepted_at: *accepted_at, place: format!("{event}.{endpoint}.{part}") }
    }

    pub(crate) fn read(cursor: &Cursor) -> Option<Self> {
        let mut parts = cursor.place.splitn(3, '.');
        let (event, endpoint) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { accepted_at: cursor.accepted_at, event, endpoint, part: parts.next()?.to_owned() })
    }
}

/// One way to what a filter means. A search for any id has several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) tenant: Option<i64>,
    pub(crate) delivery_id: Option<Uuid>,
    pub(crate) event_id: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) protocol: Option<String>,
    /// Any of these.
    pub(crate) contacts: Option<Vec<ContactToken>>,
    /// Any of these.
    pub(crate) endpoints: Option<Vec<i64>>,
    pub(crate) state: Option<State>,
    pub(crate) part: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) outcome: Option<schemas::OutcomeClass>,
    pub(crate) reason: Option<schemas::DeadReason>,
    pub(crate) matched: Option<bool>,
    pub(crate) erased: Option<bool>,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

impl Search {
    /// The ways to what a filter means: none where nothing can be meant, as with a tenant that has no records.
    pub(crate) fn of(filter: &Filter, names: &Names) -> Vec<Self> {
        let tenant = match &filter.tenant {
            None => None,
            Some(name) => match names.tenant(name) {
                Some((no, key)) => Some((no, key)),
                None => return Vec::new(),
            },
        };
        let tokens = |contact: &str| match tenant {
            Some((_, key)) => vec![token(&key, contact)],
            None => names.tokens(contact),
        };
        let endpoints = filter.endpoint_id.as_ref().map(|id| match tenant {
            Some((no, _)) => names.endpoint(no, id).into_iter().collect(),
            None => names.endpoints_called(id),
        });
        let search = Self {
            tenant: tenant.map(|(no, _)| no),
            delivery_id: None,
            event_id: filter.event_id.clone(),
            ticket: filter.ticket_id.clone(),
            protocol: filter.protocol.clone(),
            contacts: filter.contact.as_deref().map(tokens).or_else(|| filter.contact_token.map(|token| vec![token])),
            endpoints,
            state: filter.state.map(State::of),
            part: None,
            event_type: filter.event_type.clone(),
            channel: filter.channel_id.clone(),
            queue: filter.queue_id.clone(),
            outcome: filter.outcome,
            reason: filter.reason,
            matched: filter.matched,
            erased: filter.erased,
            since: filter.since.unwrap_or(0),
            until: filter.until.unwrap_or(u64::MAX),
        };
        let Some(text) = filter.q.as_deref().map(str::trim) else { return vec![search] };
        let mut ways = Vec::new();
        let mut way = |set: &dyn Fn(&mut Self) -> bool| {
            let mut way = search.clone();
            if set(&mut way) {
                ways.push(way);
            }
        };
        way(&|way| set(&mut way.event_id, text));
        if let Some((event, part)) = text.rsplit_once('_').map(|(event, part)| match (event, part) {
            (rest, "2") => rest.strip_suffix("_shot").map_or((rest, "2"), |event| (event, "shot_2")),
            both => both,
        }) {
            way(&|way| set(&mut way.event_id, event) && set(&mut way.part, part));
        }
        way(&|way| set(&mut way.ticket, text));
        way(&|way| set(&mut way.protocol, text));
        if !normalized(text).is_empty() {
            way(&|way| {
                way.contacts.is_none() && {
                    way.contacts = Some(tokens(text));
                    true
                }
            });
        }
        if let Ok(id) = text.parse::<Uuid>() {
            way(&|way| {
                way.delivery_id = Some(id);
                true
            });
        }
        ways
    }

    /// True when events of this day may be meant.
    pub(crate) fn touches(&self, began: u64, ended: u64) -> bool {
        self.since < ended && self.until > began
    }

    pub(crate) fn accepts_event(&self, event: &EventRow) -> bool {
        fn is(wanted: &Option<String>, found: Option<&str>) -> bool {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        }
        self.tenant.is_none_or(|tenant| tenant == event.tenant)
            && is(&self.event_id, Some(&event.id))
            && is(&self.event_type, Some(&event.event_type))
            && is(&self.ticket, event.ticket.as_deref())
            && is(&self.protocol, event.protocol.as_deref())
            && is(&self.channel, event.channel.as_deref())
            && is(&self.queue, event.queue.as_deref())
            && self.matched.is_none_or(|matched| matched == event.matched)
            && self.erased.is_none_or(|erased| erased == event.is_erased)
            && self.contacts.as_ref().is_none_or(|any| event.contact.is_some_and(|contact| any.contains(&contact)))
            && (self.since..self.until).contains(&event.accepted_at)
    }

    pub(crate) fn accepts_delivery(&self, key: &DeliveryKey, row: &DeliveryRow) -> bool {
        self.delivery_id.is_none_or(|id| id == row.id)
            && self.endpoints.as_ref().is_none_or(|any| any.contains(&key.endpoint))
            && self.state.is_none_or(|state| state == row.state)
            && self.part.as_ref().is_none_or(|part| *part == key.part)
            && self.outcome.is_none_or(|outcome| row.outcome == Some(outcome))
            && self.reason.is_none_or(|reason| row.reason == Some(reason))
    }

    /// True when an event is meant only if a delivery of it is.
    pub(crate) fn is_about_deliveries(&self) -> bool {
        self.delivery_id.is_some()
            || self.endpoints.is_some()
            || self.state.is_some()
            || self.part.is_some()
            || self.outcome.is_some()
            || self.reason.is_some()
    }

    /// Latest acceptance that is meant, at a place of the list or after it.
    pub(crate) fn latest(&self, after: Option<&Place>) -> i64 {
        signed(after.map_or(u64::MAX, |after| after.accepted_at).min(self.until.saturating_sub(1)))
    }
}

fn set(field: &mut Option<String>, text: &str) -> bool {
    match field {
        Some(known) => known == text,
        None => {
            *field = Some(text.to_owned());
            true
        }
    }
}

/// A page while it is filled, newest things first.
pub(crate) struct PageDraft<T> {
    limit: usize,
    items: Vec<T>,
    last: Option<Place>,
}

impl<T> PageDraft<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, items: Vec::new(), last: None }
    }

    /// Items that are still missing, and one that shows whether there is another page.
    pub(crate) fn missing(&self) -> usize {
        self.limit + 1 - self.items.len()
    }

    /// Adds what several ways found on the next day. Breaks when the page is complete, with where the next one begins.
    pub(crate) fn add(&mut self, day: Vec<Found<T>>) -> ControlFlow<Option<Cursor>> {
        let stopped = day.iter().filter_map(|found| found.stopped.clone()).max();
        let mut items: Vec<_> = day.into_iter().flat_map(|found| found.items).collect();
        items.sort_by(|(one, _), (other, _)| other.cmp(one));
        items.dedup_by(|(one, _), (other, _)| one == other);
        if let Some(stopped) = &stopped {
            // What another way found beyond it comes on the next page.
            items.retain(|(place, _)| place >= stopped);
        }
        for (place, item) in items {
            if self.items.len() == self.limit {
                return ControlFlow::Break(self.last.as_ref().map(Place::cursor));
            }
            self.last = Some(place);
            self.items.push(item);
        }
        stopped.map_or(ControlFlow::Continue(()), |stopped| ControlFlow::Break(Some(stopped.cursor())))
    }

    pub(crate) fn into_items(self) -> Vec<T> {
        self.items
    }
}

/// What a scan of one day found, first things first, and where it stopped for want of budget.
pub(crate) struct Found<T> {
    pub(crate) items: Vec<(Place, T)>,
    pub(crate) stopped: Option<Place>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { items: Vec::new(), stopped: None }
    }
}
