//! Answers, from the files of the days that are meant, newest first. Readers have connections of their own, and never wait for
//! the writer.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Row};
use service::sqlite_file;
use uuid::Uuid;

use super::{
    coverage,
    error::HistoryFileError,
    folder::{Folder, Part},
    rows::{find_delivery, find_event},
    scan::{Scan, deliveries_of},
    stats,
};
use crate::{
    Coverage, Cursor, DeliveryItem, DeliveryStory, EventItem, EventStory, HistoryError, MAX_PAGE, Page, PageRequest,
    StatsPoint, StatsRequest, body,
    day::Day,
    item::{delivery_item, event_item, story},
    names::Names,
    row::{AttemptRow, DeliveryKey, DeliveryRow, EventRow, owner_of_bodies, signed},
    search::{BUDGET, Found, PageDraft, Place, Search},
    stats::{DAY_MS, Stats},
};

/// Connections to read that are kept open, of all files together.
const KEPT_OPEN: usize = 70;

pub(super) struct Reader {
    folder: Folder,
    names: Arc<Names>,
    /// Connections that nobody uses, the last used at the end.
    idle: Mutex<Vec<((Day, Part), Connection)>>,
}

/// A connection that goes back to the others when it is dropped.
struct Reading<'a> {
    reader: &'a Reader,
    file: Option<((Day, Part), Connection)>,
}

#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is for one lifetime only")]
impl Reader {
    pub(super) fn new(folder: Folder, names: Arc<Names>) -> Self {
        Self { folder, names, idle: Mutex::default() }
    }

    /// Closes the idle connections of a day whose files are gone or will be.
    pub(super) fn close(&self, is_meant: impl Fn(Day) -> bool) {
        self.idle().retain(|((day, _), _)| !is_meant(*day));
    }

    pub(super) fn deliveries(&self, asked: &PageRequest) -> Result<Page<DeliveryItem>, HistoryError> {
        let (found, next) = self.list(asked, |scan, budget| scan.deliveries(budget))?;
        let items = found.into_iter().map(|(day, (event, key, row))| {
            let file = self.open(day, Part::Records)?;
            self.delivery_item(file.connection()?, event, &key, &row)
        });
        Ok(Page { items: items.collect::<Result<_, _>>()?, next })
    }

    pub(super) fn events(&self, asked: &PageRequest) -> Result<Page<EventItem>, HistoryError> {
        let (found, next) = self.list(asked, |scan, budget| scan.events(budget))?;
        Ok(Page { items: found.into_iter().map(|(_, event)| event_item(&self.names, event)).collect(), next })
    }

    /// Collects a page over all ways and days, newest first.
    #[expect(clippy::type_complexity, reason = "a page: its items with their days, and where the next one begins")]
    fn list<T>(
        &self,
        asked: &PageRequest,
        scan: impl Fn(&Scan<'_>, &mut usize) -> Result<Found<T>, HistoryError>,
    ) -> Result<(Vec<(Day, T)>, Option<Cursor>), HistoryError> {
        let limit = asked.limit.clamp(1, MAX_PAGE);
        let ways = Search::of(&asked.filter, &self.names);
        let after = asked.after.as_ref().and_then(Place::read);
        let (mut page, mut budget) = (PageDraft::new(limit), BUDGET);
        let mut days = self.folder.days(Part::Records)?;
        days.reverse();
        for day in days {
            let (began, ended) = (day.began(), day.began() + DAY_MS);
            if after.as_ref().is_some_and(|after| began > after.accepted_at) {
                continue;
            }
            let mut all = Vec::new();
            for search in ways.iter().filter(|way| way.touches(began, ended)) {
                let Some(file) = self.open_if_there(day, Part::Records)? else { continue };
                let limit = page.missing();
                let scanned = Scan { file: file.connection()?, search, after: after.as_ref(), limit };
                let Found { items, stopped } = scan(&scanned, &mut budget)?;
                let items = items.into_iter().map(|(place, item)| (place, (day, item))).collect();
                all.push(Found { items, stopped });
            }
            if let ControlFlow::Break(next) = page.add(all) {
                return Ok((page.into_items(), next));
            }
        }
        Ok((page.into_items(), None))
    }

    pub(super) fn delivery(&self, tenant: &str, id: Uuid) -> Result<Option<DeliveryStory>, HistoryError> {
        let Some((tenant, _)) = self.names.tenant(tenant) else { return Ok(None) };
        for day in self.newest_first()? {
            let Some(file) = self.open_if_there(day, Part::Records)? else { continue };
            let connection = file.connection()?;
            let select = "SELECT event, endpoint, part FROM deliveries WHERE id = ?1 AND tenant = ?2";
            let key = connection.prepare_cached(select)?.query_row((id.as_bytes(), tenant), |row| {
                Ok(DeliveryKey { event: row.get(0)?, endpoint: row.get(1)?, part: row.get(2)? })
            });
            let Some(key) = key.optional()? else { continue };
            let (Some(event), Some(row)) = (find_event(connection, key.event)?, find_delivery(connection, &key)?)
            else {
                continue;
            };
            let is_erased = event.is_erased;
            let body = row.shape.map(|shape| self.body(day, &event, shape)).transpose()?.flatten();
            let item = self.delivery_item(connection, event, &key, &row)?;
            return Ok(Some(DeliveryStory { body, ..story(item, &row, attempts(connection, &key)?, is_erased) }));
        }
        Ok(None)
    }

    pub(super) fn event(&self, tenant: &str, id: &str) -> Result<Option<EventStory>, HistoryError> {
        let Some((tenant, _)) = self.names.tenant(tenant) else { return Ok(None) };
        for day in self.newest_first()? {
            let Some(file) = self.open_if_there(day, Part::Records)? else { continue };
            let connection = file.connection()?;
            let select = "SELECT no, unmatched, shape FROM events WHERE id = ?1 AND tenant = ?2";
            let found = connection.prepare_cached(select)?.query_row((id, tenant), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<i64>>(2)?))
            });
            let Some((no, unmatched, shape)) = found.optional()? else { continue };
            let Some(event) = find_event(connection, no)? else { continue };
            let deliveries = deliveries_of(connection, no)?;
            let items = deliveries.iter().map(|(key, row)| self.delivery_item(connection, event.clone(), key, row));
            return Ok(Some(EventStory {
                body: shape.map(|shape| self.body(day, &event, shape)).transpose()?.flatten(),
                unmatched: unmatched.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
                deliveries: items.collect::<Result<_, _>>()?,
                event: event_item(&self.names, event),
            }));
        }
        Ok(None)
    }

    pub(super) fn stats(&self, request: &StatsRequest) -> Result<Vec<StatsPoint>, HistoryError> {
        let tenant = match &request.tenant {
            None => None,
            Some(name) => match self.names.tenant(name) {
                Some((no, _)) => Some(no),
                None => return Ok(Vec::new()),
            },
        };
        let endpoints = request.endpoint_id.as_ref().map(|id| match tenant {
            Some(no) => self.names.endpoint(no, id).into_iter().collect::<Vec<_>>(),
            None => self.names.endpoints_called(id),
        });
        let mut sums = Stats::default();
        for day in self.newest_first()?.into_iter().filter(|day| day.began() < request.until) {
            if let Some(file) = self.open_if_there(day, Part::Records)? {
                stats::add(&mut sums, file.connection()?, request, tenant, endpoints.as_deref())?;
            }
        }
        Ok(sums.points())
    }

    pub(super) fn coverage(&self, since: u64, until: u64) -> Result<Coverage, HistoryError> {
        let meta = sqlite_file::open_read_only(&self.folder.meta())?;
        coverage::read(&meta, since, until)
    }

    pub(super) fn position(&self) -> Result<Option<u64>, HistoryError> {
        let meta = sqlite_file::open_read_only(&self.folder.meta())?;
        let position = meta.query_row("SELECT value FROM position", [], |row| row.get::<_, i64>(0)).optional()?;
        Ok(position.map(i64::unsigned_abs))
    }

    fn delivery_item(
        &self,
        file: &Connection,
        event: EventRow,
        key: &DeliveryKey,
        row: &DeliveryRow,
    ) -> Result<DeliveryItem, HistoryError> {
        let last = row.last.map(|(run, number)| attempt(file, key, run, number)).transpose()?.flatten();
        Ok(delivery_item(&self.names, event, key, row, last))
    }

    fn body(&self, day: Day, event: &EventRow, shape: body::Shape) -> Result<Option<bytes::Bytes>, HistoryError> {
        let Some(file) = self.open_if_there(day, Part::Bodies)? else { return Ok(None) };
        let select = "SELECT body FROM bodies WHERE event = ?1 AND shape = ?2 AND of = ?3";
        let mut select = file.connection()?.prepare_cached(select)?;
        let of = owner_of_bodies(event.tenant, &event.id);
        let packed = select.query_row((event.no, shape, of), |row| row.get::<_, Vec<u8>>(0)).optional()?;
        Ok(packed.and_then(|packed| body::unpack(&packed)))
    }

    fn newest_first(&self) -> Result<Vec<Day>, HistoryError> {
        let mut days = self.folder.days(Part::Records)?;
        days.reverse();
        Ok(days)
    }

    /// A file, unless it was dropped, or the writer is still making it.
    fn open_if_there(&self, day: Day, part: Part) -> Result<Option<Reading<'_>>, HistoryError> {
        if !self.folder.file(day, part).exists() {
            return Ok(None);
        }
        let opened = self.open(day, part)?;
        let is_made = sqlite_file::format(opened.connection()?)? > 0;
        Ok(Some(opened).filter(|_| is_made))
    }

    fn open(&self, day: Day, part: Part) -> Result<Reading<'_>, HistoryError> {
        let idle = {
            let mut idle = self.idle();
            let known = idle.iter().rposition(|(of, _)| *of == (day, part));
            known.map(|at| idle.remove(at))
        };
        let file = match idle {
            Some(file) => file,
            None => {
                let path = self.folder.file(day, part);
                let opened = sqlite_file::open_read_only(&path);
                ((day, part), opened.map_err(|source| HistoryFileError::Database { path, source })?)
            }
        };
        Ok(Reading { reader: self, file: Some(file) })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<((Day, Part), Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading<'_> {
    fn connection(&self) -> Result<&Connection, HistoryError> {
        let connection = self.file.as_ref().map(|(_, connection)| connection);
        connection.ok_or_else(|| HistoryError("no file is open".to_owned()))
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let mut idle = self.reader.idle();
            idle.push(file);
            if idle.len() > KEPT_OPEN {
                idle.remove(0);
            }
        }
    }
}

/// The attempts of a delivery, in the order in which they were made.
fn attempts(file: &Connection, key: &DeliveryKey) -> Result<Vec<AttemptRow>, HistoryError> {
    let select = "SELECT run_began, number, at, next_due, deferrals, post FROM attempts
        WHERE event = ?1 AND endpoint = ?2 AND part = ?3 ORDER BY run_began, number";
    let mut select = file.prepare_cached(select)?;
    let rows = select.query_map((key.event, key.endpoint, &key.part), read_attempt)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn attempt(file: &Connection, key: &DeliveryKey, run: u64, number: u32) -> Result<Option<AttemptRow>, HistoryError> {
    let select = "SELECT run_began, number, at, next_due, deferrals, post FROM attempts
        WHERE event = ?1 AND endpoint = ?2 AND part = ?3 AND run_began = ?4 AND number = ?5";
    let mut select = file.prepare_cached(select)?;
    Ok(select.query_row((key.event, key.endpoint, &key.part, signed(run), number), read_attempt).optional()?)
}

fn read_attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        run_began: row.get(0)?,
        number: row.get(1)?,
        at: row.get(2)?,
        next_due: row.get(3)?,
        deferrals: row.get(4)?,
        post: row.get(5)?,
    })
}
