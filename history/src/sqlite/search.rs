//! Lists of one day: which index leads to what a filter means, and what is looked at one by one.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params_from_iter};
use uuid::Uuid;

use super::{
    names::Names,
    rows::{COLUMNS, DeliveryKey, DeliveryRow, State},
    write::signed,
};
use crate::{ContactToken, Cursor, Filter, HistoryError, normalized, token};

/// Rows that one page looks at, at most: some 50 ms.
pub(super) const BUDGET: usize = 20_000;

/// The place of an item in a list: of two, the greater comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) accepted_at: u64,
    pub(super) event: i64,
    pub(super) endpoint: i64,
    pub(super) part: String,
}

impl Place {
    pub(super) fn of_event(event: &EventRow) -> Self {
        Self { accepted_at: event.accepted_at, event: event.no, endpoint: 0, part: String::new() }
    }

    pub(super) fn cursor(&self) -> Cursor {
        let Self { accepted_at, event, endpoint, part } = self;
        Cursor { accepted_at: *accepted_at, place: format!("{event}.{endpoint}.{part}") }
    }

    pub(super) fn read(cursor: &Cursor) -> Option<Self> {
        let mut parts = cursor.place.splitn(3, '.');
        let (event, endpoint) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { accepted_at: cursor.accepted_at, event, endpoint, part: parts.next()?.to_owned() })
    }
}

/// An event of a file.
#[derive(Clone, Debug)]
pub(super) struct EventRow {
    pub(super) no: i64,
    pub(super) tenant: i64,
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) accepted_at: u64,
    pub(super) occurred_at: u64,
    pub(super) channel: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) contact: Option<ContactToken>,
    pub(super) matched: bool,
    pub(super) is_erased: bool,
}

const EVENT_COLUMNS: &str = "no, tenant, id, type, source, accepted_at, occurred_at, channel, queue, ticket, protocol, contact, \
    matched, is_erased";

impl EventRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            no: row.get(0)?,
            tenant: row.get(1)?,
            id: row.get(2)?,
            event_type: row.get(3)?,
            source: row.get(4)?,
            accepted_at: row.get::<_, i64>(5)?.unsigned_abs(),
            occurred_at: row.get::<_, i64>(6)?.unsigned_abs(),
            channel: row.get(7)?,
            queue: row.get(8)?,
            ticket: row.get(9)?,
            protocol: row.get(10)?,
            contact: row.get(11)?,
            matched: row.get(12)?,
            is_erased: row.get(13)?,
        })
    }

    pub(super) fn find(file: &Connection, no: i64) -> Result<Option<Self>, HistoryError> {
        let select = format!("SELECT {EVENT_COLUMNS} FROM events WHERE no = ?1");
        Ok(file.prepare_cached(&select)?.query_row([no], Self::read).optional()?)
    }
}

/// One way to what a filter means. A search for any id has several.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    tenant: Option<i64>,
    delivery_id: Option<Uuid>,
    event_id: Option<String>,
    ticket: Option<String>,
    protocol: Option<String>,
    /// Any of these.
    contacts: Option<Vec<ContactToken>>,
    /// Any of these.
    endpoints: Option<Vec<i64>>,
    state: Option<State>,
    part: Option<String>,
    event_type: Option<String>,
    channel: Option<String>,
    queue: Option<String>,
    outcome: Option<schemas::OutcomeClass>,
    reason: Option<schemas::DeadReason>,
    matched: Option<bool>,
    since: u64,
    until: u64,
}

impl Search {
    /// The ways to what a filter means: none where nothing can be meant, as with a tenant that has no records.
    pub(super) fn of(filter: &Filter, names: &Names) -> Vec<Self> {
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
            contacts: filter.contact.as_deref().map(tokens),
            endpoints,
            state: filter.state.map(State::of),
            part: None,
            event_type: filter.event_type.clone(),
            channel: filter.channel_id.clone(),
            queue: filter.queue_id.clone(),
            outcome: filter.outcome,
            reason: filter.reason,
            matched: filter.matched,
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
    pub(super) fn touches(&self, began: u64, ended: u64) -> bool {
        self.since < ended && self.until > began
    }

    fn accepts_event(&self, event: &EventRow) -> bool {
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
            && self.contacts.as_ref().is_none_or(|any| event.contact.is_some_and(|contact| any.contains(&contact)))
            && (self.since..self.until).contains(&event.accepted_at)
    }

    fn accepts_delivery(&self, key: &DeliveryKey, row: &DeliveryRow) -> bool {
        self.delivery_id.is_none_or(|id| id == row.id)
            && self.endpoints.as_ref().is_none_or(|any| any.contains(&key.endpoint))
            && self.state.is_none_or(|state| state == row.state)
            && self.part.as_ref().is_none_or(|part| *part == key.part)
            && self.outcome.is_none_or(|outcome| row.outcome == Some(outcome))
            && self.reason.is_none_or(|reason| row.reason == Some(reason))
    }

    /// True when an event is meant only if a delivery of it is.
    fn is_about_deliveries(&self) -> bool {
        self.delivery_id.is_some()
            || self.endpoints.is_some()
            || self.state.is_some()
            || self.part.is_some()
            || self.outcome.is_some()
            || self.reason.is_some()
    }

    /// Latest acceptance that is meant, at a place of the list or after it.
    fn latest(&self, after: Option<&Place>) -> i64 {
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

/// What a scan of one day found, first things first, and where it stopped for want of budget.
pub(super) struct Found<T> {
    pub(super) items: Vec<(Place, T)>,
    pub(super) stopped: Option<Place>,
}

/// A scan of one day's file.
pub(super) struct Scan<'a> {
    pub(super) file: &'a Connection,
    pub(super) search: &'a Search,
    pub(super) after: Option<&'a Place>,
    /// Most items.
    pub(super) limit: usize,
}

impl Scan<'_> {
    pub(super) fn deliveries(
        &self,
        budget: &mut usize,
    ) -> Result<Found<(EventRow, DeliveryKey, DeliveryRow)>, HistoryError> {
        let mut found = Found { items: Vec::new(), stopped: None };
        let limit = self.limit;
        let mut see = |event: &EventRow, key: DeliveryKey, row: DeliveryRow| {
            let DeliveryKey { endpoint, part, .. } = &key;
            let place = Place { endpoint: *endpoint, part: part.clone(), ..Place::of_event(event) };
            let is_after = self.after.is_none_or(|after| place < *after);
            if is_after && self.search.accepts_event(event) && self.search.accepts_delivery(&key, &row) {
                found.items.push((place, (event.clone(), key, row)));
            }
            if found.items.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = match self.delivery_index() {
            Some((index, value)) => self.by_delivery(index, value.as_ref(), budget, &mut see)?,
            None => self.by_event(budget, |event, budget| {
                for (key, row) in deliveries_of(self.file, event.no)? {
                    *budget = budget.saturating_sub(1);
                    if see(event, key, row).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?,
        };
        found.stopped = stopped;
        Ok(found)
    }

    pub(super) fn events(&self, budget: &mut usize) -> Result<Found<EventRow>, HistoryError> {
        let mut found = Found { items: Vec::new(), stopped: None };
        let stopped = self.by_event(budget, |event, budget| {
            let place = Place::of_event(event);
            let is_after = self.after.is_none_or(|after| place < *after);
            if is_after && self.search.accepts_event(event) && self.has_meant_delivery(event, budget)? {
                found.items.push((place, event.clone()));
            }
            Ok(if found.items.len() >= self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        found.stopped = stopped;
        Ok(found)
    }

    fn has_meant_delivery(&self, event: &EventRow, budget: &mut usize) -> Result<bool, HistoryError> {
        if !self.search.is_about_deliveries() {
            return Ok(true);
        }
        let deliveries = deliveries_of(self.file, event.no)?;
        *budget = budget.saturating_sub(deliveries.len());
        Ok(deliveries.iter().any(|(key, row)| self.search.accepts_delivery(key, row)))
    }

    /// The index of deliveries that leads to what is meant, where that is shorter than the way over events.
    fn delivery_index(&self) -> Option<(&'static str, Box<dyn ToSql>)> {
        let Search { delivery_id, event_id, ticket, protocol, contacts, endpoints, state, tenant, .. } = self.search;
        if let Some(id) = delivery_id {
            return Some(("d INDEXED BY delivery_ids WHERE d.id = ?1", Box::new(*id.as_bytes())));
        }
        let is_narrow = event_id.is_some() || ticket.is_some() || protocol.is_some() || contacts.is_some();
        match (endpoints.as_deref(), state, tenant) {
            _ if is_narrow => None,
            (Some([endpoint]), ..) => {
                Some(("d INDEXED BY delivery_endpoints WHERE d.endpoint = ?1", Box::new(*endpoint)))
            }
            (None, Some(State::Waiting), Some(tenant)) => {
                Some(("d INDEXED BY waiting WHERE d.state = 0 AND d.tenant = ?1", Box::new(*tenant)))
            }
            (None, Some(State::Dead), Some(tenant)) => {
                Some(("d INDEXED BY dead WHERE d.state = 2 AND d.tenant = ?1", Box::new(*tenant)))
            }
            _ => None,
        }
    }

    fn by_delivery(
        &self,
        index: &str,
        value: &dyn ToSql,
        budget: &mut usize,
        see: &mut impl FnMut(&EventRow, DeliveryKey, DeliveryRow) -> ControlFlow<()>,
    ) -> Result<Option<Place>, HistoryError> {
        let select = format!(
            "SELECT d.event, d.endpoint, d.part, {COLUMNS} FROM deliveries {index} AND d.accepted_at BETWEEN ?2 AND ?3
             ORDER BY d.accepted_at DESC, d.event DESC, d.endpoint DESC, d.part DESC"
        );
        let (since, latest) = (signed(self.search.since), self.search.latest(self.after));
        let mut select = self.file.prepare_cached(&select)?;
        let mut rows = select.query([value, &since, &latest])?;
        while let Some(row) = rows.next()? {
            let key = DeliveryKey { event: row.get(0)?, endpoint: row.get(1)?, part: row.get(2)? };
            let delivery = DeliveryRow::read(row, 3)?;
            let Some(event) = EventRow::find(self.file, key.event)? else { continue };
            let place = Place { endpoint: key.endpoint, part: key.part.clone(), ..Place::of_event(&event) };
            if see(&event, key, delivery).is_break() {
                return Ok(None);
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Sees events in the order of the list, those included that are not meant.
    fn by_event(
        &self,
        budget: &mut usize,
        mut see: impl FnMut(&EventRow, &mut usize) -> Result<ControlFlow<()>, HistoryError>,
    ) -> Result<Option<Place>, HistoryError> {
        let Search { tenant, event_id, ticket, protocol, contacts, delivery_id, .. } = self.search;
        if let Some(id) = delivery_id {
            let select = "SELECT event FROM deliveries WHERE id = ?1";
            let mut select = self.file.prepare_cached(select)?;
            let events =
                select.query_map([id.as_bytes()], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
            for no in events {
                if let Some(event) = EventRow::find(self.file, no)?
                    && see(&event, budget)?.is_break()
                {
                    break;
                }
            }
            return Ok(None);
        }
        let mut values: Vec<Box<dyn ToSql>> =
            vec![Box::new(signed(self.search.since)), Box::new(self.search.latest(self.after))];
        let index = match (event_id, ticket, protocol, contacts, tenant) {
            (Some(id), ..) => {
                values.push(Box::new(id.clone()));
                "INDEXED BY event_ids WHERE id = ?3".to_owned()
            }
            (_, Some(ticket), ..) => {
                values.push(Box::new(ticket.clone()));
                "INDEXED BY tickets WHERE ticket = ?3".to_owned()
            }
            (_, _, Some(protocol), ..) => {
                values.push(Box::new(protocol.clone()));
                "INDEXED BY protocols WHERE protocol = ?3".to_owned()
            }
            (_, _, _, Some(contacts), _) => {
                let places: Vec<_> = (0..contacts.len()).map(|at| format!("?{}", at + 3)).collect();
                values.extend(contacts.iter().map(|contact| Box::new(*contact) as Box<dyn ToSql>));
                format!("INDEXED BY contacts WHERE contact IN ({})", places.join(", "))
            }
            (.., Some(tenant)) => {
                values.push(Box::new(*tenant));
                "INDEXED BY event_times WHERE tenant = ?3".to_owned()
            }
            _ => "INDEXED BY event_order WHERE 1".to_owned(),
        };
        let select = format!(
            "SELECT {EVENT_COLUMNS} FROM events {index} AND accepted_at BETWEEN ?1 AND ?2
             ORDER BY accepted_at DESC, no DESC"
        );
        let mut select = self.file.prepare_cached(&select)?;
        let mut rows = select.query(params_from_iter(values.iter().map(|value| &**value)))?;
        while let Some(row) = rows.next()? {
            let event = EventRow::read(row)?;
            if see(&event, budget)?.is_break() {
                return Ok(None);
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                // All deliveries of this event were seen.
                return Ok(Some(Place { endpoint: i64::MIN, ..Place::of_event(&event) }));
            }
        }
        Ok(None)
    }
}

/// The deliveries of an event, in the order of lists.
pub(super) fn deliveries_of(file: &Connection, event: i64) -> Result<Vec<(DeliveryKey, DeliveryRow)>, HistoryError> {
    let select = format!(
        "SELECT d.event, d.endpoint, d.part, {COLUMNS} FROM deliveries d WHERE d.event = ?1
         ORDER BY d.endpoint DESC, d.part DESC"
    );
    let mut select = file.prepare_cached(&select)?;
    let rows = select.query_map([event], |row| {
        let key = DeliveryKey { event: row.get(0)?, endpoint: row.get(1)?, part: row.get(2)? };
        Ok((key, DeliveryRow::read(row, 3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
