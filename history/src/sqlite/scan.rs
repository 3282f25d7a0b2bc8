//! Lists of one day: which index leads to what is meant.

use std::ops::ControlFlow;

use rusqlite::{Connection, ToSql, params_from_iter};

use super::rows::{COLUMNS, EVENT_COLUMNS, find_event, read_delivery, read_event};
use crate::{
    HistoryError,
    row::{DeliveryKey, DeliveryRow, EventRow, State, signed},
    search::{Found, Place, Search},
};

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
            let delivery = read_delivery(row, 3)?;
            let Some(event) = find_event(self.file, key.event)? else { continue };
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
                if let Some(event) = find_event(self.file, no)?
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
            let event = read_event(row)?;
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
        Ok((key, read_delivery(row, 3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
