//! Reading the logs, and counting deliveries, on a read-only connection of its own: beside the writer or in another
//! process.

use std::path::{Path, PathBuf};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::ValueRef};
use service::sqlite_file;

use super::{
    message::{self, MessageRow, OVERHEAD},
    queue_table::QueueTable,
};
use crate::{Log, Logs, Queue, QueueCount, QueueCounts, ReadError, Record, queue_counts::waits_since};

/// Bytes of a log that are read ahead; the last record may exceed them.
const READ_AHEAD: usize = 1024 * 1024;

/// Most parameters of one query.
const MOST_PARAMETERS: usize = 1_000;

/// No transaction stays open between two records, so a slow reader never keeps the writer from checkpointing.
struct LogReader {
    connection: Connection,
    next: i64,
    end: i64,
    sql: String,
}

/// The logs of a broker's file, for another process. Reading takes no lock and changes no data (SQLite may put its
/// `-shm` and `-wal` files beside the file), and works whether or not a process has the file.
#[derive(Clone, Debug)]
pub struct LogFile(PathBuf);

impl LogFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Logs for LogFile {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        stream(self.0.clone(), log, offset, None)
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        let path = self.0.clone();
        blocking(move || Ok(LogReader::open(&path, log, 0, None)?.end.unsigned_abs() + 1)).boxed()
    }
}

/// Reads a log up to `end`, by default its present end. Does not block.
pub(super) fn stream(
    path: PathBuf,
    log: Log,
    offset: u64,
    end: Option<u64>,
) -> BoxStream<'static, Result<Record, ReadError>> {
    let reader = move || LogReader::open(&path, log, offset, end);
    stream::once(async move { blocking(reader).await })
        .map_ok(|reader| stream::try_unfold(reader, next_page).try_flatten())
        .try_flatten()
        .boxed()
}

impl LogReader {
    fn open(path: &Path, log: Log, offset: u64, end: Option<u64>) -> Result<Self, ReadError> {
        let failed = |error| ReadError(format!("{}: {error}", path.display()));
        if !path.try_exists().map_err(|error| ReadError(format!("{}: {error}", path.display())))? {
            return Err(ReadError(format!("{}: there is no such file", path.display())));
        }
        let connection = sqlite_file::open_read_only(path).map_err(failed)?;
        let table = log.name();
        let last: Option<i64> = connection
            .query_row(&format!("SELECT max(\"offset\") FROM {table}"), [], |row| row.get(0))
            .map_err(failed)?;
        Ok(Self {
            connection,
            next: i64::try_from(offset).unwrap_or(i64::MAX),
            end: end.map_or(last.unwrap_or(0), |end| i64::try_from(end).unwrap_or(i64::MAX)),
            sql: format!(
                "SELECT \"offset\", id, kind, key, headers, body FROM {table}
                 WHERE \"offset\" BETWEEN ?1 AND ?2 ORDER BY \"offset\" LIMIT 1"
            ),
        })
    }

    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        let found = self
            .connection
            .prepare_cached(&self.sql)
            .and_then(|mut next| {
                next.query_row([self.next, self.end], |row| Ok((row.get::<_, i64>(0)?, MessageRow::read(row, 1)?)))
                    .optional()
            })
            .map_err(|error| ReadError(error.to_string()))?;
        let Some((offset, row)) = found else { return Ok(None) };
        self.next = offset.saturating_add(1);
        let (message, key) = row.into_message().map_err(|error| ReadError(format!("record {offset}: {error}")))?;
        Ok(Some(Record { offset: offset.unsigned_abs(), key, message }))
    }
}

type RecordPage = stream::Iter<std::vec::IntoIter<Result<Record, ReadError>>>;

async fn next_page(mut reader: LogReader) -> Result<Option<(RecordPage, LogReader)>, ReadError> {
    blocking(move || {
        let mut page = Vec::new();
        let mut bytes = 0;
        while bytes < READ_AHEAD
            && let Some(record) = reader.read()?
        {
            bytes += record.message.body.len() + OVERHEAD;
            page.push(Ok(record));
        }
        Ok((!page.is_empty()).then(|| (stream::iter(page), reader)))
    })
    .await
}

/// Counts the deliveries, delayed and handed out ones included, that carry all these headers: in one transaction, so
/// that none is missed or counted twice while it moves. Does not block.
pub(super) async fn count_waiting(path: PathBuf, with: &[(&str, &str)]) -> Result<u64, ReadError> {
    let with: Vec<_> = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    blocking(move || count(&path, &with).map_err(|error| ReadError(error.to_string()))).await
}

fn count(path: &Path, with: &[(String, String)]) -> rusqlite::Result<u64> {
    let mut connection = sqlite_file::open_read_only(path)?;
    let transaction = connection.transaction()?;
    let mut waiting = 0;
    for table in ["fast", "slow", "later"] {
        waiting += count_in(&transaction, table, with)?;
    }
    Ok(waiting)
}

/// The delayed deliveries of events, by their numbers in the table. Does not block.
pub(super) async fn delayed_of(path: PathBuf, event_ids: Vec<String>) -> Result<Vec<i64>, ReadError> {
    let find = move || -> rusqlite::Result<Vec<i64>> {
        let connection = sqlite_file::open_read_only(&path)?;
        let mut found = Vec::new();
        // The table has no index on ids: one look at it finds many.
        for ids in event_ids.chunks(MOST_PARAMETERS) {
            let places = vec!["?"; ids.len()].join(", ");
            let mut select = connection.prepare(&format!("SELECT seq FROM later WHERE id IN ({places})"))?;
            for seq in select.query_map(params_from_iter(ids), |row| row.get(0))? {
                found.push(seq?);
            }
        }
        Ok(found)
    };
    blocking(move || find().map_err(|error| ReadError(error.to_string()))).await
}

/// Counts what waits in the queues, in one transaction. Does not block.
pub(super) async fn queue_counts(path: PathBuf) -> Result<QueueCounts, ReadError> {
    let count = move || {
        let mut connection = sqlite_file::open_read_only(&path)?;
        let transaction = connection.transaction()?;
        let queues = Queue::ALL.into_iter().map(|queue| count_queue(&transaction, queue)).collect::<Result<_, _>>()?;
        let delayed: i64 = transaction.query_row("SELECT count(*) FROM later", [], |row| row.get(0))?;
        Ok(QueueCounts { queues, delayed: delayed.unsigned_abs() })
    };
    blocking(move || count().map_err(|error: rusqlite::Error| ReadError(error.to_string()))).await
}

/// What was not handed out yet has the numbers above the mark, without gaps: counting rows would read all of them. What was
/// given back is not counted.
fn count_queue(file: &Connection, queue: Queue) -> rusqlite::Result<QueueCount> {
    let (last, mark) = QueueTable::of(queue).last_and_mark(file)?;
    let oldest = format!("SELECT headers FROM {} WHERE seq > ?1 ORDER BY seq LIMIT 1", queue.name());
    let oldest: Option<Vec<u8>> = file.query_row(&oldest, [mark], |row| row.get(0)).optional()?;
    Ok(QueueCount {
        queue,
        waiting: last.saturating_sub(mark).max(0).unsigned_abs(),
        consumers: None,
        oldest_since: oldest.and_then(|headers| waits_since(&message::decode(&headers, "").ok()?)),
    })
}

/// SQLite skips the rows whose headers do not contain the bytes, and reads no bodies for that. The headers of the other
/// rows are decoded, because the bytes could be part of another text. What the packed form leaves out is not found.
fn count_in(file: &Connection, table: &str, with: &[(String, String)]) -> rusqlite::Result<u64> {
    let occurs = |nth| format!("(instr(headers, ?{}) OR instr(headers, ?{}))", 2 * nth + 1, 2 * nth + 2);
    let occurs = (0..with.len()).map(occurs).collect::<Vec<_>>().join(" AND ");
    let occurs = if with.is_empty() { "TRUE" } else { &occurs };
    let mut rows = file.prepare(&format!("SELECT headers, id FROM {table} WHERE {occurs}"))?;
    let bytes = with.iter().flat_map(|(name, value)| message::occurrences(name, value));
    let mut rows = rows.query(params_from_iter(bytes))?;
    let wanted: Vec<_> = with.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut found = 0;
    while let Some(row) = rows.next()? {
        let (ValueRef::Blob(bytes), Ok(id)) = (row.get_ref(0)?, row.get_ref(1)?.as_str()) else { continue };
        found += u64::from(message::decode(bytes, id).is_ok_and(|headers| headers.have(&wanted)));
    }
    Ok(found)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ReadError(error.to_string())))
}
