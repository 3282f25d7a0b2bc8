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
    types::{ToSql, Type},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::url::{DatabaseUrl, error_text};
use crate::{EditError, EditRefusal, StoreError, StoreOpenError, row::RowError};

/// Time limit of a statement that moves little. A database that needs longer counts as away, so that no API call hangs.
pub(super) const QUICK: Duration = Duration::from_millis(2500);
/// Time limit of a statement that moves a whole configuration.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// First statements of every session. The server's limits are a little longer than this program's, and make it release
/// the locks of a process that vanished. A statement that waits for a lock fails within this program's limit.
const BEGINNING: &str = "
    SET search_path TO carteiro;
    SET client_min_messages TO warning;
    SET statement_timeout TO '25s';
    SET lock_timeout TO '2s';
    SET idle_in_transaction_session_timeout TO '25s';
    LISTEN carteiro_store;
";

/// Values of a statement with their types, so that it takes one round trip and no preparation.
pub(super) type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A connection that works until one statement on it has failed.
pub(super) struct PostgresSession {
    client: Client,
    broken: AtomicBool,
    /// Cancelled when the connection is gone.
    ended: CancellationToken,
    /// Moves the connection's bytes. Its drop closes the connection.
    _driver: AbortOnDropHandle<()>,
}

impl PostgresSession {
    /// Connects. `notified` is notified whenever the database announces a change.
    pub(super) async fn open(url: &DatabaseUrl, notified: Arc<Notify>) -> Result<Self, StoreError> {
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
        session.batch(BEGINNING).await?;
        Ok(session)
    }

    /// Runs several statements without parameters.
    pub(super) async fn batch(&self, statements: &str) -> Result<(), StoreError> {
        self.limited(QUICK, self.client.batch_execute(statements)).await
    }

    /// Runs a statement that returns rows.
    pub(super) async fn query(
        &self,
        limit: Duration,
        sql: &str,
        given: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        self.limited(limit, self.client.query_typed(sql, given)).await
    }

    /// Runs a statement that returns no rows, and returns how many it changed.
    pub(super) async fn execute(&self, limit: Duration, sql: &str, given: Parameters<'_>) -> Result<u64, StoreError> {
        self.limited(limit, self.client.execute_typed(sql, given)).await
    }

    /// Returns what cancels the statement that is under way.
    pub(super) fn cancel_token(&self) -> tokio_postgres::CancelToken {
        self.client.cancel_token()
    }

    /// Begins a transaction, which [`PostgresSession::end`] ends.
    pub(super) async fn begin(&self) -> Result<(), StoreError> {
        self.batch("BEGIN").await
    }

    /// Commits what was done or, after a failure, rolls it back.
    pub(super) async fn end<T, E: From<StoreError>>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_ok() {
            self.batch("COMMIT").await?;
        } else {
            // The result does not matter: without a commit nothing was done.
            let _ = self.batch("ROLLBACK").await;
        }
        done
    }

    /// True when no further statement can succeed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.client.is_closed()
    }

    /// Waits until the connection is gone.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn limited<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let answer = timeout(limit, statement).await;
        if !matches!(&answer, Ok(Ok(_))) && !matches!(&answer, Ok(Err(error)) if error.as_db_error().is_some()) {
            self.broken.store(true, Ordering::Release);
        }
        answered(answer)
    }
}

fn answered<T>(answer: Result<Result<T, tokio_postgres::Error>, Elapsed>) -> Result<T, StoreError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(StoreError(error_text(&error))),
        Err(_) => Err(StoreError("the database did not answer in time".to_owned())),
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

#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresFailure {
    /// The database is away, or busy.
    #[error(transparent)]
    Away(#[from] StoreError),
    /// The content of the database cannot be used by this process, and only the operator can change that.
    #[error(transparent)]
    Defect(#[from] StoreOpenError),
    #[error(transparent)]
    Refused(#[from] EditRefusal),
}

impl PostgresFailure {
    pub(super) fn of_row(error: &RowError, place: &str) -> Self {
        let (place, reason) = (place.to_owned(), error.to_string());
        Self::Defect(match error {
            RowError::Sealed { .. } => StoreOpenError::Key { place, reason },
            RowError::Strange { .. } => StoreOpenError::Unusable { place, reason },
        })
    }
}

impl From<PostgresFailure> for StoreError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Away(error) => error,
            other => Self(other.to_string()),
        }
    }
}

impl From<PostgresFailure> for EditError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Refused(refusal) => Self::Refused(refusal),
            other => Self::Away(other.into()),
        }
    }
}
