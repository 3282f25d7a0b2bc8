//! The history seam: what happened to each event and delivery, for people who ask. `sqlite` (a file a day) and `postgres`
//! (a partition a day) implement [`History`] and pass one contract suite (`tests/contract`).
//!
//! History may lag, and may lose records when it must choose: no event or delivery waits for it. What is lost is said
//! ([`Coverage`]). Records have a day, that of the event's first acceptance, and whole days are dropped.

mod answer;
mod batch;
mod body;
mod config;
mod contact;
mod day;
mod draft;
mod durations;
mod item;
mod kept;
mod metrics;
mod names;
mod postgres;
mod query;
mod record;
mod recorder;
mod row;
mod search;
mod share;
mod sqlite;
mod stats;

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

/// The commented defaults of the section `history`.
pub use answer::{
    AttemptItem, Coverage, DeliveryItem, DeliveryStory, Dropped, Erased, EventItem, EventStory, Kept, Page, StatsPoint,
    Written,
};
pub use batch::{BadBatch, Batch, Gap, GapCause};
pub use config::HistoryConfig;
pub use contact::{ContactToken, TenantKey, is_number, normalized, token};
pub use metrics::RecorderMetrics;
pub use postgres::{HistoryDatabaseError, PostgresHistory};
pub use query::{Cursor, DeliveryState, Erasure, Filter, InvalidCursor, MAX_PAGE, PageRequest, StatsBy, StatsRequest};
pub use record::{
    AttemptRecord, EventRecord, MAX_UNMATCHED, OwedDelivery, Post, Record, RecordedDelivery, RecordedVerdict,
    RunRecord, Timing, Unmatched, tenant_of_scope, tenant_scope,
};
pub use recorder::{RecordSink, Recorder, RecorderTask, SIGN_OF_LIFE};
pub use sqlite::{HistoryFileError, SqliteHistory, back_up_history, is_history_file, lock_history};

/// Where history is kept.
///
/// Writes are idempotent: a record that was written before changes nothing and counts nothing. Records come in any order:
/// an attempt may come before its event, and a second attempt before the first.
pub trait History: Send + Sync {
    /// Writes what a process recorded, with the position in the stream after it: after a crash the position is never ahead of
    /// the records. Records of days before that of `oldest` (unix milliseconds) are counted, and not written.
    fn write(&self, batch: Batch, position: Option<u64>, oldest: u64) -> BoxFuture<'_, Result<Written, HistoryError>>;

    /// Takes the right to write what the stream has, or renews it, for so long: one process at a time needs to. False while
    /// another one has it. With no time, it is given up.
    fn lease<'a>(&'a self, holder: &'a str, time: Duration) -> BoxFuture<'a, Result<bool, HistoryError>>;

    /// The position in the stream after the last batch that was written with one.
    fn position(&self) -> BoxFuture<'_, Result<Option<u64>, HistoryError>>;

    /// Notes a time in which records are missing.
    fn note_gap(&self, gap: Gap) -> BoxFuture<'_, Result<(), HistoryError>>;

    /// Turns processes that have handed over nothing since `silent_since` (unix milliseconds) and did not end into gaps of
    /// `lost_ms` after what they covered, except `living`.
    fn close_silent(&self, silent_since: u64, lost_ms: u64, living: &str) -> BoxFuture<'_, Result<u64, HistoryError>>;

    /// What is known of the completeness of records from `since` to `until`, in unix milliseconds.
    fn coverage(&self, since: u64, until: u64) -> BoxFuture<'_, Result<Coverage, HistoryError>>;

    fn deliveries<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<DeliveryItem>, HistoryError>>;

    fn events<'a>(&'a self, page: &'a PageRequest) -> BoxFuture<'a, Result<Page<EventItem>, HistoryError>>;

    /// One delivery of a tenant.
    fn delivery<'a>(&'a self, tenant: &'a str, id: Uuid) -> BoxFuture<'a, Result<Option<DeliveryStory>, HistoryError>>;

    /// One event of a tenant.
    fn event<'a>(&'a self, tenant: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<EventStory>, HistoryError>>;

    /// Counts by hour or day, oldest first; hours and days without counts are left out.
    fn stats<'a>(&'a self, request: &'a StatsRequest) -> BoxFuture<'a, Result<Vec<StatsPoint>, HistoryError>>;

    /// The tenants that have records.
    fn tenants(&self) -> BoxFuture<'_, Result<Vec<String>, HistoryError>>;

    /// The key with which the tokens of a tenant's contacts are made. A tenant without records gets one.
    fn tenant_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<TenantKey, HistoryError>>;

    /// Removes bodies, excerpts, headers and the contact's token of what is meant, paced, and returns when nothing of it is left
    /// in any row or, where no database owns them, in any file.
    fn erase<'a>(&'a self, tenant: &'a str, what: &'a Erasure) -> BoxFuture<'a, Result<Erased, HistoryError>>;

    /// Removes everything of a tenant, paced. It is hidden at once: a tenant that is made anew under the id begins empty.
    fn forget_tenant<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<(), HistoryError>>;

    /// Removes what a tenant keeps for a shorter time: records whose acceptance is before `records`, bodies before `bodies`
    /// (unix milliseconds), paced.
    fn shorten<'a>(&'a self, tenant: &'a str, records: u64, bodies: u64) -> BoxFuture<'a, Result<u64, HistoryError>>;

    /// Makes room: drops whole days before `records`, whole days of bodies before `bodies` (unix milliseconds), and the
    /// oldest days while more than `max_bytes` are kept. Makes what the next days need.
    fn maintain(&self, now: u64, records: u64, bodies: u64) -> BoxFuture<'_, Result<Dropped, HistoryError>>;

    fn kept(&self) -> BoxFuture<'_, Result<Kept, HistoryError>>;

    /// Writes out what is under way and closes.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// History cannot be read or written now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("history is away: {0}")]
pub struct HistoryError(pub String);
