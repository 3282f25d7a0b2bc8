//! History in a folder: a SQLite file for each day, beside it one with the day's bodies, and one with what belongs to no day.
//!
//! Retention unlinks files. One connection to each file writes, and readers have their own. All of it runs on threads that may
//! block.

mod copy;
mod coverage;
mod erase;
mod error;
mod folder;
mod names;
mod read;
mod rows;
mod scan;
mod schema;
mod stats;
mod write;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use service::sqlite_file::{FileLock, LockError};
use uuid::Uuid;

use self::{
    erase::ErasedEvents,
    folder::{Folder, Part},
    read::Reader,
    writer::Writer,
};
use crate::{
    Batch, Coverage, DeliveryItem, DeliveryStory, Dropped, Erased, Erasure, EventItem, EventStory, Gap, History,
    HistoryError, Kept, Page, PageRequest, StatsPoint, StatsRequest, TenantKey, Written, day::Day,
};

pub use copy::{back_up_history, is_history_file};
pub use error::HistoryFileError;

/// Pause between two pieces of a removal, in which records are written.
const PACE: Duration = Duration::from_millis(20);
/// How often a write-ahead log is tried to be cut while readers hold it, and the pause between two tries.
const CUTS: (usize, Duration) = (100, Duration::from_millis(50));

/// A folder with history. Clones are the same.
#[derive(Clone)]
pub struct SqliteHistory(Arc<Files>);

struct Files {
    folder: Folder,
    reader: Reader,
    writer: Mutex<Writer>,
    /// Held until the folder is closed.
    lock: Mutex<Option<FileLock>>,
}

/// Keeps every other process from opening the history in the folder at `path`, which is made if it is missing.
///
/// # Errors
/// [`HistoryFileError::Held`] when another process has it.
pub fn lock_history(path: &Path) -> Result<FileLock, HistoryFileError> {
    FileLock::take(&Folder::new(path).lock_file()).map_err(|error| match error {
        LockError::Held => HistoryFileError::Held { path: path.into() },
        LockError::File { path, source } => HistoryFileError::File { path, source },
    })
}

impl SqliteHistory {
    /// Opens a folder, or makes it. Blocks for some milliseconds, whatever is in it. A tenant that is not alone takes a part of
    /// `max_bytes`.
    ///
    /// # Errors
    /// Another process has it open, a later version wrote it, or it cannot be used.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, HistoryFileError> {
        let folder = Folder::new(path);
        let lock = lock_history(path)?;
        let writer = Writer::open(&folder, max_bytes)?;
        let reader = Reader::new(folder.clone(), writer.names.clone());
        Ok(Self(Arc::new(Files { folder, reader, writer: Mutex::new(writer), lock: Mutex::new(Some(lock)) })))
    }

    /// Runs work on a thread that may block. Once started it is finished, even if the caller stops waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let files = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.unwrap_or_else(|error| Err(HistoryError(error.to_string())))
    }

    /// The days with records that began before a time, in unix milliseconds.
    async fn days_before(&self, before: u64) -> Result<Vec<Day>, HistoryError> {
        let days = self.blocking(|files| Ok(files.folder.days(Part::Records)?)).await?;
        Ok(days.into_iter().filter(|day| day.began() < before).collect())
    }

    async fn erase_all(&self, tenant: &str, what: &Erasure) -> Result<Erased, HistoryError> {
        let known = { self.0.writer().names.tenant(tenant) };
        let mut all = Erased::default();
        let Some((no, _)) = known else { return Ok(all) };
        let whose: Vec<_> = match what {
            Erasure::Contact(token) => vec![ErasedEvents::Contact(*token)],
            Erasure::Events(ids) => ids.iter().cloned().map(ErasedEvents::Event).collect(),
        };
        let whose = Arc::new(whose);
        for day in self.days_before(u64::MAX).await? {
            for at in 0..whose.len() {
                loop {
                    let whose = whose.clone();
                    let some = self.blocking(move |files| files.writer().erase_some(day, no, &whose[at])).await?;
                    let (erased, has_more) = some;
                    all.events += erased.events;
                    all.deliveries += erased.deliveries;
                    if !has_more {
                        break;
                    }
                    tokio::time::sleep(PACE).await;
                }
            }
            // Also where nothing was found: an earlier call may have failed to do it.
            self.cut_logs(day).await?;
        }
        Ok(all)
    }

    /// Cuts the logs of a day, as soon as no reader holds them.
    async fn cut_logs(&self, day: Day) -> Result<(), HistoryError> {
        let (tries, pause) = CUTS;
        let mut cut = Ok(());
        for _ in 0..tries {
            cut = self
                .blocking(move |files| {
                    files.reader.close(|of| of == day);
                    files.writer().cut_logs(day)
                })
                .await;
            if cut.is_ok() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        cut
    }

    async fn remove_before(&self, no: i64, before: u64) -> Result<(), HistoryError> {
        for day in self.days_before(before).await? {
            while self.blocking(move |files| files.writer().remove_some(day, no, before)).await? {
                tokio::time::sleep(PACE).await;
            }
            self.cut_logs(day).await?;
        }
        Ok(())
    }
}

impl Files {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for SqliteHistory {
    fn write(&self, batch: Batch, position: Option<u64>, oldest: u64) -> BoxFuture<'_, Result<Written, HistoryError>> {
        self.blocking(move |files| files.writer().write(batch, position, Day::of(oldest))).boxed()
    }

    /// A folder has one process.
    fn lease<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, HistoryError>> {
        std::future::ready(Ok(true)).boxed()
    }

    fn position(&self) -> BoxFuture<'_, Result<Option<u64>, HistoryError>> {
        self.blocking(|files| files.reader.position()).boxed()
    }

    fn note_gap(&self, gap: Gap) -> BoxFuture<'_, Result<(), HistoryError>> {
        self.blocking(move |files| coverage::insert(&files.writer().meta, &gap)).boxed()
    }

    fn close_silent(&self, silent_since: u64, lost_ms: u64, living: &str) -> BoxFuture<'_, Result<u64, HistoryError>> {
        let living = living.to_owned();
        self.blocking(move |files| files.writer().close_silent(silent_since, lost_ms, &living)).boxed()
    }

    fn coverage(&self, since: u64, until: u64) -> BoxFuture<'_, Result<Coverage, HistoryError>> {
        self.blocking(move |files| files.reader.coverage(since, until)).boxed()
    }

    fn deliveries<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<DeliveryItem>, HistoryError>> {
        let page = page.clone();
        self.blocking(move |files| files.reader.deliveries(&page)).boxed()
    }

    fn events<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<EventItem>, HistoryError>> {
        let page = page.clone();
        self.blocking(move |files| files.reader.events(&page)).boxed()
    }

    fn delivery<'a>(&'a self, tenant: &'a str, id: Uuid) -> BoxFuture<'a, Result<Option<DeliveryStory>, HistoryError>> {
        let tenant = tenant.to_owned();
        self.blocking(move |files| files.reader.delivery(&tenant, id)).boxed()
    }

    fn event<'a>(&'a self, tenant: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<EventStory>, HistoryError>> {
        let (tenant, id) = (tenant.to_owned(), id.to_owned());
        self.blocking(move |files| files.reader.event(&tenant, &id)).boxed()
    }

    fn stats<'a>(&'a self, request: &'a StatsRequest) -> BoxFuture<'a, Result<Vec<StatsPoint>, HistoryError>> {
        let request = request.clone();
        self.blocking(move |files| files.reader.stats(&request)).boxed()
    }

    fn tenants(&self) -> BoxFuture<'_, Result<Vec<String>, HistoryError>> {
        self.blocking(|files| Ok(files.writer().names.tenants())).boxed()
    }

    fn tenant_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<TenantKey, HistoryError>> {
        let tenant = tenant.to_owned();
        self.blocking(move |files| {
            let Writer { meta, names, .. } = &*files.writer();
            Ok(names::tenant_or_new(meta, names, &tenant)?.1)
        })
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a str, what: &'a Erasure) -> BoxFuture<'a, Result<Erased, HistoryError>> {
        self.erase_all(tenant, what).boxed()
    }

    fn forget_tenant<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<(), HistoryError>> {
        async move {
            let name = tenant.to_owned();
            let forgotten = self.blocking(move |files| {
                let Writer { meta, names, kept, .. } = &mut *files.writer();
                let Some(no) = names::forget(meta, names, &name)? else { return Ok(None) };
                meta.execute("DELETE FROM kept WHERE tenant = ?1", [no])?;
                kept.drop_tenant(no);
                Ok(Some(no))
            });
            let Some(no) = forgotten.await? else { return Ok(()) };
            self.blocking(|files| files.writer().cut_meta_log()).await?;
            self.remove_before(no, u64::MAX).await
        }
        .boxed()
    }

    fn shorten<'a>(&'a self, tenant: &'a str, records: u64, bodies: u64) -> BoxFuture<'a, Result<u64, HistoryError>> {
        async move {
            let Some((no, _)) = ({ self.0.writer().names.tenant(tenant) }) else { return Ok(0) };
            self.remove_before(no, records).await?;
            let mut removed = 0;
            for day in self.days_before(bodies).await? {
                removed += self.blocking(move |files| files.writer().remove_bodies(day, no, bodies)).await?;
                tokio::time::sleep(PACE).await;
            }
            Ok(removed)
        }
        .boxed()
    }

    fn maintain(&self, _: u64, records: u64, bodies: u64) -> BoxFuture<'_, Result<Dropped, HistoryError>> {
        self.blocking(move |files| {
            let (records, bodies) = (Day::of(records), Day::of(bodies));
            let dropped = files.writer().maintain(records, bodies);
            let oldest = files.folder.days(Part::Records)?.first().copied();
            files.reader.close(|day| day < bodies || oldest.is_none_or(|oldest| day < oldest));
            dropped
        })
        .boxed()
    }

    fn kept(&self) -> BoxFuture<'_, Result<Kept, HistoryError>> {
        self.blocking(|files| {
            let oldest_day = files.folder.days(Part::Records)?.first().map(|day| day.name());
            Ok(Kept { bytes: files.folder.bytes()?, oldest_day })
        })
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            let closed = self.blocking(|files| {
                files.writer().files.close_all();
                files.reader.close(|_| true);
                files.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(())
            });
            let _ = closed.await;
        }
        .boxed()
    }
}
