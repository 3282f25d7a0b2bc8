//! Reading a log, on a connection of its own that can only look: beside the writer, or in another process.

use std::path::{Path, PathBuf};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rusqlite::{Connection, OptionalExtension};

use super::command::Row;
use crate::{Log, Logs, ReadError, Record};

/// How much is read ahead of whoever reads a stream: one record over this many bytes.
const PAGE: usize = 1024 * 1024;

/// The records of a log, from an offset to what was its last when reading began. Holds one record at a time and no
/// transaction in between, so that a slow reader never keeps the writer from folding its log of changes.
struct LogReader {
    connection: Connection,
    next: i64,
    end: i64,
    sql: String,
}

/// The logs of a broker's file, for another process: it takes no lock and changes no data (SQLite may put its `-shm`
/// and `-wal` files beside it). Works whether or not a process holds the file.
#[derive(Clone, Debug)]
pub struct Archive(PathBuf);

impl Archive {
    /// Of the file at `path`, which need not be there yet: reading says so.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Logs for Archive {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        stream(self.0.clone(), log, offset, None)
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        let path = self.0.clone();
        blocking(move || Ok(LogReader::open(&path, log, 0, None)?.end.unsigned_abs() + 1)).boxed()
    }
}

/// Reads without blocking, up to `end`, or to what is the end now.
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
        let connection = service::sqlite_file::open_read_only(path).map_err(failed)?;
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
                next.query_row([self.next, self.end], |row| Ok((row.get::<_, i64>(0)?, Row::read(row, 1)?))).optional()
            })
            .map_err(|error| ReadError(error.to_string()))?;
        let Some((offset, row)) = found else { return Ok(None) };
        self.next = offset.saturating_add(1);
        let (message, key) = row.into_message().map_err(|error| ReadError(format!("record {offset}: {error}")))?;
        Ok(Some(Record { offset: offset.unsigned_abs(), key, message }))
    }
}

type Page = stream::Iter<std::vec::IntoIter<Result<Record, ReadError>>>;

async fn next_page(mut reader: LogReader) -> Result<Option<(Page, LogReader)>, ReadError> {
    blocking(move || {
        let mut page = Vec::new();
        let mut bytes = 0;
        while bytes < PAGE
            && let Some(record) = reader.read()?
        {
            bytes += record.message.body.len() + super::command::OVERHEAD;
            page.push(Ok(record));
        }
        Ok((!page.is_empty()).then(|| (stream::iter(page), reader)))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ReadError(error.to_string())))
}
