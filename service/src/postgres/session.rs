//! One connection to the database, and statements on it, each with a time limit.
//!
//! A statement that fails otherwise than by an error of the database breaks the session, because the state of the
//! connection is then unknown.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, NoTls, Row, Socket,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{DatabaseError, DatabaseUrl, error_text};

/// Time limit of a statement that moves little. A database that needs longer counts as away, so that no API call hangs.
pub const QUICK: Duration = Duration::from_millis(2500);
/// Time limit of a statement that moves a whole configuration.
pub const LONG: Duration = Duration::from_secs(20);

/// Values of a statement with their types, so that it takes one round trip and no preparation.
pub type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A connection that works until one statement on it has failed.
pub struct PostgresSession {
    client: Client,
    broken: AtomicBool,
    /// Cancelled when the connection is gone.
    ended: CancellationToken,
    /// Moves the connection's bytes. Its drop closes the connection.
    _driver: AbortOnDropHandle<()>,
}

impl PostgresSession {
    /// Connects, and runs first statements. `notified` is notified whenever the database announces something.
    pub async fn open(url: &DatabaseUrl, beginning: &str, notified: Arc<Notify>) -> Result<Self, DatabaseError> {
        let ended = CancellationToken::new();
        let (client, driver) = match &url.tls {
            Some(tls) => {
                let (client, connection) = answered(timeout(QUICK, url.config.connect(tls.clone())).await)?;
                (client, tokio::spawn(drive(connection, notified, ended.clone())))
            }
            None => {
                let (client, connection) = answered(timeout(QUICK, url.config.connect(NoTls)).await)?;
                (client, tokio::spawn(drive(connection, notified, ended.clone())))
            }
        };
        let session = Self { client, broken: AtomicBool::new(false), ended, _driver: AbortOnDropHandle::new(driver) };
        session.batch(beginning).await?;
        Ok(session)
    }

    /// Runs several statements without parameters.
    pub async fn batch(&self, statements: &str) -> Result<(), DatabaseError> {
        self.limited(QUICK, self.client.batch_execute(statements)).await
    }

    /// Runs a statement that returns rows.
    pub async fn query(&self, limit: Duration, sql: &str, given: Parameters<'_>) -> Result<Vec<Row>, DatabaseError> {
        self.limited(limit, self.client.query_typed(sql, given)).await
    }

    /// Runs a statement that returns no rows, and returns how many it changed.
    pub async fn execute(&self, limit: Duration, sql: &str, given: Parameters<'_>) -> Result<u64, DatabaseError> {
        self.limited(limit, self.client.execute_typed(sql, given)).await
    }

    /// Copies rows into a table in binary form. `values` makes a row's columns, in the order of the table.
    pub async fn copy_in<R, const N: usize>(
        &self,
        limit: Duration,
        table: &str,
        rows: &[R],
        values: impl for<'r> Fn(&'r R) -> [&'r (dyn ToSql + Sync); N],
    ) -> Result<(), DatabaseError> {
        let copied = async {
            let columns = self.client.prepare(&format!("SELECT * FROM {table}")).await?;
            let types: Vec<_> = columns.columns().iter().map(|column| column.type_().clone()).collect();
            let sink = self.client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
            let writer = BinaryCopyInWriter::new(sink, &types);
            tokio::pin!(writer);
            for row in rows {
                writer.as_mut().write(&values(row)).await?;
            }
            writer.finish().await
        };
        self.limited(limit, copied).await.map(drop)
    }

    /// Returns what cancels the statement that is under way.
    pub fn cancel_token(&self) -> tokio_postgres::CancelToken {
        self.client.cancel_token()
    }

    /// Begins a transaction, which [`PostgresSession::end`] ends.
    pub async fn begin(&self) -> Result<(), DatabaseError> {
        self.batch("BEGIN").await
    }

    /// Commits what was done or, after a failure, rolls it back.
    pub async fn end<T, E: From<DatabaseError>>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_ok() {
            self.batch("COMMIT").await?;
        } else {
            // The result does not matter: without a commit nothing was done.
            let _ = self.batch("ROLLBACK").await;
        }
        done
    }

    /// True when no further statement can succeed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.client.is_closed()
    }

    /// Waits until the connection is gone.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn limited<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let answer = timeout(limit, statement).await;
        if !matches!(&answer, Ok(Ok(_))) && !matches!(&answer, Ok(Err(error)) if error.as_db_error().is_some()) {
            self.broken.store(true, Ordering::Release);
        }
        answered(answer)
    }
}

fn answered<T>(answer: Result<Result<T, tokio_postgres::Error>, Elapsed>) -> Result<T, DatabaseError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(DatabaseError(error_text(&error))),
        Err(_) => Err(DatabaseError("the database did not answer in time".to_owned())),
    }
}

/// Moves the connection's bytes until it ends.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Socket, S>,
    notified: Arc<Notify>,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(_) = message {
            notified.notify_one();
        }
    }
}
