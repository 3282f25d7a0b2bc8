//! History in a PostgreSQL database, in a schema of its own: tables that are partitioned by day.
//!
//! Retention drops partitions. One connection writes, two answer questions, and one keeps house. Several processes may have it
//! open: a lock in the database lets one of them change records at a time.

mod connection;
mod counts;
mod coverage;
mod days;
mod erase;
mod error;
mod insert;
mod known;
mod lease;
mod migrations;
mod names;
mod read;
mod rows;
mod scan;
mod write;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use service::postgres::{DatabaseUrl, LONG, PostgresSession, QUICK, SideSession};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::{
    connection::BEGINNING,
    erase::ErasedEvents,
    names::NameCache,
    write::{KeptCache, TEMPORARY_TABLES, Writer},
};
use crate::{
    Batch, Coverage, DeliveryItem, DeliveryStory, Dropped, Erased, Erasure, EventItem, EventStory, Gap, History,
    HistoryError, Kept, Page, PageRequest, StatsPoint, StatsRequest, TenantKey, Written, day::Day,
};

pub use error::HistoryDatabaseError;

/// Time limits of a question: of its statement, and of all of it.
const QUESTION: [Duration; 2] = [Duration::from_secs(2), QUICK];
/// Time limits of a statement that writes or keeps house, and of its job.
const UPKEEP: [Duration; 2] = [Duration::from_secs(15), LONG];
/// Time limits of a statement that vacuums the tables of a day, and of its job. A full day has millions of rows.
const VACUUM: [Duration; 2] = [erase::VACUUM_LIMIT, Duration::from_secs(11 * 60)];
/// Pause between two pieces of a removal, in which records are written.
const PACE: Duration = Duration::from_millis(20);

/// A database with history. Clones are the same, and the drop of the last one closes the connections.
#[derive(Clone)]
pub struct PostgresHistory(Arc<Database>);

struct Database {
    url: DatabaseUrl,
    names: NameCache,
    kept: KeptCache,
    max_bytes: u64,
    writing: SideSession,
    questions: [SideSession; 2],
    next_question: AtomicUsize,
    upkeep: SideSession,
    is_connected: Arc<AtomicBool>,
    watch: AbortOnDropHandle<()>,
}

impl PostgresHistory {
    /// Connects to the database of a URL, and makes or updates its tables. A tenant that is not alone takes a part of
    /// `max_bytes`.
    ///
    /// If the database does not answer within a few seconds, history is opened all the same, and goes on connecting.
    ///
    /// # Errors
    /// A URL that cannot be used; tables of a later version of this program.
    pub async fn open(url: &str, max_bytes: u64) -> Result<Self, HistoryDatabaseError> {
        let url = DatabaseUrl::parse(url)?;
        if url.is_exposed {
            tracing::warn!(database = url.place, "history.unencrypted");
        }
        let is_connected = Arc::new(AtomicBool::new(false));
        let side = |beginning: &str, limits| SideSession::new(&url, beginning, limits, &is_connected);
        let writing = side(&format!("{BEGINNING}{TEMPORARY_TABLES}"), UPKEEP);
        let questions = [side(BEGINNING, QUESTION), side(BEGINNING, QUESTION)];
        let upkeep = side(BEGINNING, UPKEEP);
        let (sender, first_attempt) = oneshot::channel();
        let watch = AbortOnDropHandle::new(tokio::spawn(connection::watch(url.clone(), is_connected.clone(), sender)));
        // The time limits of connecting bound this wait.
        if let Ok(Err(newer @ HistoryDatabaseError::Newer { .. })) = first_attempt.await {
            return Err(newer);
        }
        Ok(Self(Arc::new(Database {
            url,
            names: NameCache::default(),
            kept: KeptCache::default(),
            max_bytes,
            writing,
            questions,
            next_question: AtomicUsize::new(0),
            upkeep,
            is_connected,
            watch,
        })))
    }

    /// Asks over one of the connections for questions.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl for<'a> FnOnce(&'a Database, &'a PostgresSession) -> BoxFuture<'a, Result<T, HistoryError>>
        + Send
        + 'static,
    ) -> Result<T, HistoryError> {
        let next = self.0.next_question.fetch_add(1, Ordering::Relaxed);
        let [even, odd] = &self.0.questions;
        let session = if next.is_multiple_of(2) { even } else { odd };
        let database = self.0.clone();
        session.run(move |session| async move { question(&database, session).await }.boxed()).await
    }

    /// The number of a tenant with records.
    async fn tenant(&self, name: &str) -> Result<Option<i64>, HistoryError> {
        let (database, name) = (self.0.clone(), name.to_owned());
        let known = self.0.upkeep.run(move |session| {
            async move { Ok::<_, HistoryError>(database.names.current(session).await?.tenant(&name).map(|(no, _)| no)) }.boxed()
        });
        known.await
    }

    /// The days with records that began before a time, in unix milliseconds, or those with bodies.
    async fn days_before(&self, before: u64, of_bodies: bool) -> Result<Vec<Day>, HistoryError> {
        let days = self.0.upkeep.run(|session| days::list(session).boxed()).await?;
        let days = if of_bodies { days.bodies } else { days.records };
        Ok(days.into_iter().filter(|day| day.began() < before).collect())
    }

    /// Removes what a tenant has from before a time. Returns the days of which something was removed.
    async fn remove_before(&self, no: i64, before: u64) -> Result<Vec<Day>, HistoryError> {
        let mut touched = Vec::new();
        for day in self.days_before(before, false).await? {
            let piece = || self.0.upkeep.run(|session| erase::remove_some(session, day, no, before).boxed());
            while piece().await? {
                if touched.last() != Some(&day) {
                    touched.push(day);
                }
                tokio::time::sleep(PACE).await;
            }
        }
        Ok(touched)
    }

    /// Has the database remove deleted and updated rows of some days from its tables and indexes.
    ///
    /// A failure ends nothing: the rows are gone for every reader, and autovacuum removes them later.
    async fn vacuum(&self, days: impl IntoIterator<Item = Day>) {
        // A connection of its own, which ends with this: on the one of upkeep others would wait for minutes.
        let session = SideSession::new(&self.0.url, BEGINNING, VACUUM, &self.0.is_connected);
        for day in days {
            if let Err(error) = session.run(|session| erase::vacuum(session, day).boxed()).await {
                tracing::warn!(%error, day = day.name(), "history.not_vacuumed");
            }
        }
    }

    async fn erase_all(&self, tenant: &str, what: &Erasure) -> Result<Erased, HistoryError> {
        let mut all = Erased::default();
        let Some(no) = self.tenant(tenant).await? else { return Ok(all) };
        let whose = Arc::new(match what {
            Erasure::Contact(token) => ErasedEvents::Contact(*token),
            Erasure::Events(ids) => ErasedEvents::Events(ids.clone()),
        });
        for day in self.days_before(u64::MAX, false).await? {
            let before = all.events;
            loop {
                let whose = whose.clone();
                let piece = self
                    .0
                    .upkeep
                    .run(move |session| async move { erase::erase_some(session, day, no, &whose).await }.boxed());
                let (erased, has_more) = piece.await?;
                all.events += erased.events;
                all.deliveries += erased.deliveries;
                if !has_more {
                    break;
                }
                tokio::time::sleep(PACE).await;
            }
            if all.events > before {
                self.vacuum([day]).await;
            }
        }
        Ok(all)
    }

    /// Removes what is left of tenants that were forgotten, also by a process that ended meanwhile.
    async fn remove_forgotten(&self) -> Result<(), HistoryError> {
        let forgotten = self.0.upkeep.run(|session| names::forgotten(session).boxed()).await?;
        for no in forgotten {
            let touched = self.remove_before(no, u64::MAX).await?;
            self.0.upkeep.run(|session| names::remove(session, no).boxed()).await?;
            self.vacuum(touched).await;
        }
        Ok(())
    }

    async fn drop_day(&self, day: Day, only_bodies: bool) -> Result<(), HistoryError> {
        self.0.upkeep.run(|session| days::drop_day(session, day, only_bodies).boxed()).await?;
        self.0.kept.expire();
        Ok(())
    }

    async fn bytes(&self) -> Result<u64, HistoryError> {
        Ok(self.0.upkeep.run(|session| days::bytes(session).boxed()).await?)
    }

    async fn make_room(&self, now: u64, records: u64, bodies: u64) -> Result<Dropped, HistoryError> {
        self.0.upkeep.run(|session| days::make(session, days::ahead_of(now)).boxed()).await?;
        let (today, records, bodies) = (Day::of(now), Day::of(records), Day::of(bodies));
        let mut dropped = Dropped::default();
        for day in self.days_before(bodies.max(records).began(), true).await? {
            self.drop_day(day, true).await?;
            dropped.days_of_bodies += 1;
        }
        for day in self.days_before(records.began(), false).await? {
            self.drop_day(day, false).await?;
            dropped.days += 1;
        }
        // Today's stays: it is bounded by the tenants' shares.
        for day in self.days_before(today.began(), false).await? {
            if self.bytes().await? <= self.0.max_bytes {
                break;
            }
            self.drop_day(day, false).await?;
            dropped.days += 1;
        }
        self.0.upkeep.run(|session| coverage::forget(session, records.began()).boxed()).await?;
        self.remove_forgotten().await?;
        Ok(dropped)
    }
}

impl History for PostgresHistory {
    fn write(&self, batch: Batch, position: Option<u64>, oldest: u64) -> BoxFuture<'_, Result<Written, HistoryError>> {
        let database = self.0.clone();
        let written = self.0.writing.run(move |session| {
            async move {
                let Database { names, kept, max_bytes, .. } = &*database;
                let writer = Writer { names, kept, max_bytes: *max_bytes };
                writer.write(session, batch, position, Day::of(oldest)).await
            }
            .boxed()
        });
        written.boxed()
    }

    fn lease<'a>(&'a self, holder: &'a str, time: Duration) -> BoxFuture<'a, Result<bool, HistoryError>> {
        let holder = holder.to_owned();
        self.0.writing.run(move |session| async move { lease::take(session, &holder, time).await }.boxed()).boxed()
    }

    fn position(&self) -> BoxFuture<'_, Result<Option<u64>, HistoryError>> {
        self.ask(|_, session| write::position(session).boxed()).boxed()
    }

    fn note_gap(&self, gap: Gap) -> BoxFuture<'_, Result<(), HistoryError>> {
        self.0.writing.run(move |session| async move { coverage::insert(session, &gap).await }.boxed()).boxed()
    }

    fn close_silent(&self, silent_since: u64, lost_ms: u64, living: &str) -> BoxFuture<'_, Result<u64, HistoryError>> {
        let living = living.to_owned();
        let closed = self.0.writing.run(move |session| {
            async move { coverage::close_silent(session, silent_since, lost_ms, &living).await }.boxed()
        });
        closed.boxed()
    }

    fn coverage(&self, since: u64, until: u64) -> BoxFuture<'_, Result<Coverage, HistoryError>> {
        self.ask(move |_, session| coverage::read(session, since, until).boxed()).boxed()
    }

    fn deliveries<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<DeliveryItem>, HistoryError>> {
        let page = page.clone();
        self.ask(|database, session| async move { read::deliveries(session, &database.names, &page).await }.boxed())
            .boxed()
    }

    fn events<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<EventItem>, HistoryError>> {
        let page = page.clone();
        self.ask(|database, session| async move { read::events(session, &database.names, &page).await }.boxed()).boxed()
    }

    fn delivery<'a>(&'a self, tenant: &'a str, id: Uuid) -> BoxFuture<'a, Result<Option<DeliveryStory>, HistoryError>> {
        let tenant = tenant.to_owned();
        self.ask(move |database, session| {
            async move { read::delivery(session, &database.names, &tenant, id).await }.boxed()
        })
        .boxed()
    }

    fn event<'a>(&'a self, tenant: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<EventStory>, HistoryError>> {
        let [tenant, id] = [tenant, id].map(str::to_owned);
        self.ask(|database, session| async move { read::event(session, &database.names, &tenant, &id).await }.boxed())
            .boxed()
    }

    fn stats<'a>(&'a self, request: &'a StatsRequest) -> BoxFuture<'a, Result<Vec<StatsPoint>, HistoryError>> {
        let request = request.clone();
        self.ask(|database, session| async move { counts::stats(session, &database.names, &request).await }.boxed())
            .boxed()
    }

    fn tenants(&self) -> BoxFuture<'_, Result<Vec<String>, HistoryError>> {
        self.ask(|database, session| async move { Ok(database.names.current(session).await?.tenants()) }.boxed())
            .boxed()
    }

    fn tenant_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<TenantKey, HistoryError>> {
        let (database, tenant) = (self.0.clone(), tenant.to_owned());
        let key = self
            .0
            .upkeep
            .run(move |session| async move { names::key_or_new(session, &database.names, &tenant).await }.boxed());
        key.boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a str, what: &'a Erasure) -> BoxFuture<'a, Result<Erased, HistoryError>> {
        self.erase_all(tenant, what).boxed()
    }

    fn forget_tenant<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<(), HistoryError>> {
        async move {
            let name = tenant.to_owned();
            let forgotten = self.0.upkeep.run(|session| async move { names::forget(session, &name).await }.boxed());
            forgotten.await?;
            self.0.kept.expire();
            self.remove_forgotten().await
        }
        .boxed()
    }

    fn shorten<'a>(&'a self, tenant: &'a str, records: u64, bodies: u64) -> BoxFuture<'a, Result<u64, HistoryError>> {
        async move {
            let Some(no) = self.tenant(tenant).await? else { return Ok(0) };
            // What is too old for one tenant is not secret: autovacuum removes it from the files.
            self.remove_before(no, records).await?;
            let mut removed = 0;
            for day in self.days_before(bodies, true).await? {
                loop {
                    let piece = self.0.upkeep.run(|session| erase::remove_bodies(session, day, no, bodies).boxed());
                    let (some, has_more) = piece.await?;
                    removed += some;
                    if !has_more {
                        break;
                    }
                    tokio::time::sleep(PACE).await;
                }
            }
            Ok(removed)
        }
        .boxed()
    }

    fn maintain(&self, now: u64, records: u64, bodies: u64) -> BoxFuture<'_, Result<Dropped, HistoryError>> {
        self.make_room(now, records, bodies).boxed()
    }

    fn kept(&self) -> BoxFuture<'_, Result<Kept, HistoryError>> {
        let kept = self.0.upkeep.run(|session| {
            async move {
                let bytes = days::bytes(session).await?;
                let oldest_day = days::oldest(session).await?.map(Day::name);
                Ok(Kept { bytes, oldest_day })
            }
            .boxed()
        });
        kept.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.0.watch.abort();
            self.0.is_connected.store(false, Ordering::Release);
        }
        .boxed()
    }
}
