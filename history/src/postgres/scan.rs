//! Lists of one day: which index leads to what is meant, and how much of it is looked at.
//!
//! Rows come in chunks, in the order of the list, and are judged here. So a filter that no index knows costs at most the
//! budget of a page.

use std::ops::ControlFlow;

use service::postgres::{DatabaseError, PostgresSession, QUICK};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    days::partition,
    rows::{self, DELIVERY_COLUMNS, EVENT_COLUMNS, EVENT_WIDTH},
};
use crate::{
    day::Day,
    row::{DeliveryKey, DeliveryRow, EventRow, State, signed},
    search::{Found, Place, Search},
};

/// Rows of the first chunk, of which each further one has four times as many, and of the largest.
const FIRST_CHUNK: usize = 50;
const LARGEST_CHUNK: usize = 2_000;

/// A delivery with its event.
pub(super) type FoundDelivery = (EventRow, DeliveryKey, DeliveryRow);

/// A scan of one day.
pub(super) struct Scan<'a> {
    pub(super) session: &'a PostgresSession,
    pub(super) search: &'a Search,
    pub(super) day: Day,
    pub(super) after: Option<&'a Place>,
    /// Most items.
    pub(super) limit: usize,
    /// Most rows that are looked at.
    pub(super) budget: usize,
}

/// What an index leads to: a condition about `$1`.
struct Index {
    condition: String,
    value: Box<dyn ToSql + Sync + Send>,
    kind: Type,
}

impl Index {
    fn new(condition: impl Into<String>, value: impl ToSql + Sync + Send + 'static, kind: Type) -> Self {
        Self { condition: condition.into(), value: Box::new(value), kind }
    }
}

impl Scan<'_> {
    pub(super) async fn deliveries(&self) -> Result<Found<FoundDelivery>, DatabaseError> {
        let mut items: Vec<(Place, FoundDelivery)> = Vec::new();
        let see = |event: EventRow, delivery: Option<(DeliveryKey, DeliveryRow)>| {
            let Some((key, row)) = delivery else { return ControlFlow::Continue(()) };
            let place = place_of(&event, &key);
            let is_after = self.after.is_none_or(|after| place < *after);
            if is_after && self.search.accepts_event(&event) && self.search.accepts_delivery(&key, &row) {
                items.push((place, (event, key, row)));
            }
            if items.len() >= self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = self.each_row(self.delivery_index(), true, see).await?;
        Ok(Found { items, stopped })
    }

    pub(super) async fn events(&self) -> Result<Found<EventRow>, DatabaseError> {
        let needs_delivery = self.search.is_about_deliveries();
        let mut items: Vec<(Place, EventRow)> = Vec::new();
        let see = |event: EventRow, delivery: Option<(DeliveryKey, DeliveryRow)>| {
            let place = Place::of_event(&event);
            // An event comes once with each of its deliveries.
            let is_new = items.last().is_none_or(|(before, _)| *before != place);
            let is_after = self.after.is_none_or(|after| place < *after);
            let has_meant_delivery =
                !needs_delivery || delivery.is_some_and(|(key, row)| self.search.accepts_delivery(&key, &row));
            if is_new && is_after && has_meant_delivery && self.search.accepts_event(&event) {
                items.push((place, event));
            }
            if items.len() >= self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = self.each_row(None, needs_delivery, see).await?;
        Ok(Found { items, stopped })
    }

    /// Sees rows in the order of the list, those included that are not meant: deliveries by an index of theirs, or else events,
    /// with their deliveries if those are wanted. Returns where it stopped for want of budget.
    async fn each_row(
        &self,
        index: Option<Index>,
        with_deliveries: bool,
        mut see: impl FnMut(EventRow, Option<(DeliveryKey, DeliveryRow)>) -> ControlFlow<()>,
    ) -> Result<Option<Place>, DatabaseError> {
        let beginning = Place { accepted_at: u64::MAX, event: i64::MAX, endpoint: i64::MAX, part: String::new() };
        let mut from = self.after.cloned().unwrap_or(beginning);
        let (mut size, mut budget) = (FIRST_CHUNK.max(self.limit), self.budget.max(1));
        loop {
            let asked = size.min(LARGEST_CHUNK).min(budget);
            let rows = match &index {
                Some(index) => self.chunk_of_deliveries(index, &from, asked).await?,
                None => self.chunk_of_events(&from, asked, with_deliveries).await?,
            };
            let (mut looked_at, mut last) = (0, None::<Place>);
            for row in &rows {
                let event = rows::event(row, 0);
                let delivery = with_deliveries.then(|| rows::delivery(row, EVENT_WIDTH)).flatten();
                let is_another = last.as_ref().is_none_or(|last| last.event != event.no);
                looked_at += usize::from(index.is_some() || is_another);
                // A chunk of events has all of their deliveries.
                let end = Place { endpoint: i64::MIN, ..Place::of_event(&event) };
                let key = delivery.as_ref().map(|(key, _)| key).filter(|_| index.is_some());
                last = Some(key.map_or(end, |key| place_of(&event, key)));
                if see(event, delivery).is_break() {
                    return Ok(None);
                }
            }
            budget -= looked_at.min(budget);
            match last {
                Some(last) if looked_at == asked && budget > 0 => from = last,
                last => return Ok(last.filter(|_| looked_at == asked)),
            }
            size *= 4;
        }
    }

    /// The index of deliveries that leads to what is meant, where that is shorter than the way over events.
    fn delivery_index(&self) -> Option<Index> {
        let Search { delivery_id, event_id, ticket, protocol, contacts, endpoints, state, tenant, .. } = self.search;
        if let Some(id) = delivery_id {
            return Some(Index::new("d.id = $1", *id, Type::UUID));
        }
        let is_narrow = event_id.is_some() || ticket.is_some() || protocol.is_some() || contacts.is_some();
        match (endpoints.as_deref(), state, tenant) {
            _ if is_narrow => None,
            (Some([endpoint]), ..) => Some(Index::new("d.endpoint = $1", *endpoint, Type::INT8)),
            (None, Some(State::Waiting), Some(no)) => {
                Some(Index::new("d.state = 0 AND d.tenant = $1", *no, Type::INT8))
            }
            (None, Some(State::Dead), Some(no)) => Some(Index::new("d.state = 2 AND d.tenant = $1", *no, Type::INT8)),
            _ => None,
        }
    }

    /// The index of events that leads to what is meant. One that is not in the order of the list is asked first, for numbers:
    /// otherwise the planner may go through all events in that order, hoping to meet some soon.
    fn event_index(&self) -> Index {
        let Search { tenant, event_id, ticket, protocol, contacts, delivery_id, .. } = self.search;
        let (events, deliveries) = (partition("events", self.day), partition("deliveries", self.day));
        let text = |condition, value: &String| Index::new(condition, value.clone(), Type::TEXT);
        let first = |select: String| format!("e.no = ANY (ARRAY(SELECT {select}))");
        match (delivery_id, event_id, ticket, protocol, contacts.as_deref(), tenant) {
            (Some(id), ..) => Index::new(first(format!("event FROM {deliveries} WHERE id = $1")), *id, Type::UUID),
            (_, Some(id), ..) => text(first(format!("no FROM {events} WHERE id = $1")), id),
            (_, _, Some(ticket), ..) => text("e.ticket = $1".to_owned(), ticket),
            (_, _, _, Some(protocol), ..) => text("e.protocol = $1".to_owned(), protocol),
            (_, _, _, _, Some([contact]), _) => Index::new("e.contact = $1", contact.to_vec(), Type::BYTEA),
            (_, _, _, _, Some(contacts), _) => {
                let tokens: Vec<_> = contacts.iter().map(|token| token.to_vec()).collect();
                Index::new(first(format!("no FROM {events} WHERE contact = ANY ($1)")), tokens, Type::BYTEA_ARRAY)
            }
            (.., Some(tenant)) => Index::new("e.tenant = $1", *tenant, Type::INT8),
            _ => Index::new("$1::int8 IS NULL", None::<i64>, Type::INT8),
        }
    }

    async fn chunk_of_deliveries(&self, index: &Index, from: &Place, size: usize) -> Result<Vec<Row>, DatabaseError> {
        let order = "ORDER BY d.accepted_at DESC, d.event DESC, d.endpoint DESC, d.part DESC";
        let (deliveries, events) = (partition("deliveries", self.day), partition("events", self.day));
        let sql = format!(
            "SELECT {EVENT_COLUMNS}, {DELIVERY_COLUMNS} FROM (
                 SELECT * FROM {deliveries} d WHERE {} AND d.accepted_at >= $2 AND d.accepted_at <= $3
                 AND (d.accepted_at, d.event, d.endpoint, d.part) < ($4, $5, $6, $7) {order} LIMIT {size}
             ) d JOIN {events} e ON e.no = d.event {order}",
            index.condition
        );
        let given = &[
            (&*index.value as _, index.kind.clone()),
            (&signed(self.search.since) as _, Type::INT8),
            (&self.search.latest(self.after) as _, Type::INT8),
            (&signed(from.accepted_at) as _, Type::INT8),
            (&from.event as _, Type::INT8),
            (&from.endpoint as _, Type::INT8),
            (&from.part as _, Type::TEXT),
        ];
        self.session.query(QUICK, &sql, given).await
    }

    async fn chunk_of_events(
        &self,
        from: &Place,
        size: usize,
        with_deliveries: bool,
    ) -> Result<Vec<Row>, DatabaseError> {
        let index = self.event_index();
        let (deliveries, events) = (partition("deliveries", self.day), partition("events", self.day));
        let chunk = format!(
            "SELECT * FROM {events} e WHERE {} AND e.accepted_at >= $2 AND e.accepted_at <= $3
             AND (e.accepted_at, e.no) <= ($4, $5) ORDER BY e.accepted_at DESC, e.no DESC LIMIT {size}",
            index.condition
        );
        let sql = match with_deliveries {
            true => format!(
                "SELECT {EVENT_COLUMNS}, {DELIVERY_COLUMNS} FROM ({chunk}) e
                 LEFT JOIN {deliveries} d ON d.event = e.no
                 ORDER BY e.accepted_at DESC, e.no DESC, d.endpoint DESC, d.part DESC"
            ),
            false => format!("SELECT {EVENT_COLUMNS} FROM ({chunk}) e ORDER BY e.accepted_at DESC, e.no DESC"),
        };
        // An event is over at its end, and not at one of its deliveries.
        let event = if from.endpoint == i64::MIN { from.event - 1 } else { from.event };
        let given = &[
            (&*index.value as _, index.kind.clone()),
            (&signed(self.search.since) as _, Type::INT8),
            (&self.search.latest(self.after) as _, Type::INT8),
            (&signed(from.accepted_at) as _, Type::INT8),
            (&event as _, Type::INT8),
        ];
        self.session.query(QUICK, &sql, given).await
    }
}

fn place_of(event: &EventRow, key: &DeliveryKey) -> Place {
    Place { endpoint: key.endpoint, part: key.part.clone(), ..Place::of_event(event) }
}
