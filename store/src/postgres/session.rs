//! One connection to the database, and statements on it, each with a time limit.
//!
//! A statement that fails by anything but the database's own answer breaks the session: what the line would carry next
//! is not known.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, Row, Socket,
    types::{ToSql, Type},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{address::DatabaseUrl, tls::Encrypted};
use crate::StoreError;

/// For a statement that moves little: a database that needs longer counts as away, so that no API call hangs.
pub(super) const QUICK: Duration = Duration::from_millis(2500);
/// For one that moves a whole configuration.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// What every session begins with. The server gives up a little after we did, and never holds a lock for a process that
/// is gone without a word; who waits for a lock is told in time that it is busy.
const BEGINNING: &str = "
    SET search_path TO carteiro;
    SET client_min_messages TO warning;
    SET statement_timeout TO '25s';
    SET lock_timeout TO '2s';
    SET idle_in_transaction_session_timeout TO '25s';
    LISTEN carteiro_store;
";

/// What a statement is given: values and their types, so that it takes one round trip and no preparation.
pub(super) type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A connection that works, until one statement on it did not.
pub(super) struct PostgresSession {
    client: Client,
    broken: AtomicBool,
    /// Cancelled once the line is gone.
    ended: CancellationToken,
    /// Drives the line; its drop closes it.
    _driver: AbortOnDropHandle<()>,
}

impl PostgresSession {
    /// Connects. Whenever the database notifies of a change, `notified` is.
    pub(super) async fn open(address: &DatabaseUrl, notified: Arc<Notify>) -> Result<Self, StoreError> {
        let connected = timeout(QUICK, address.config.connect(address.tls.clone())).await;
        let (client, connection) = answered(connected)?;
        let ended = CancellationToken::new();
        let driver = tokio::spawn(drive(connection, notified, ended.clone()));
        let session = Self { client, broken: AtomicBool::new(false), ended, _driver: AbortOnDropHandle::new(driver) };
        session.batch(BEGINNING).await?;
        Ok(session)
    }

    /// Several statements without parameters.
    pub(super) async fn batch(&self, statements: &str) -> Result<(), StoreError> {
        self.limited(QUICK, self.client.batch_execute(statements)).await
    }

    /// A question.
    pub(super) async fn query(
        &self,
        limit: Duration,
        sql: &str,
        given: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        self.limited(limit, self.client.query_typed(sql, given)).await
    }

    /// A statement that answers nothing.
    pub(super) async fn execute(&self, limit: Duration, sql: &str, given: Parameters<'_>) -> Result<u64, StoreError> {
        self.limited(limit, self.client.execute_typed(sql, given)).await
    }

    /// Begins a transaction, to be given to [`PostgresSession::end`].
    pub(super) async fn begin(&self) -> Result<(), StoreError> {
        self.batch("BEGIN").await
    }

    /// Commits what was done, or, after a failure, undoes it.
    pub(super) async fn end<T, E: From<StoreError>>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_ok() {
            self.batch("COMMIT").await?;
        } else {
            // Whether that works or not: without a commit nothing was done.
            let _ = self.batch("ROLLBACK").await;
        }
        done
    }

    /// Whether nothing more can be done with it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.client.is_closed()
    }

    /// Returns once the line is gone.
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

/// What an error says, causes included. The database's details are left out: they quote values.
pub(super) fn error_text(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("the database says: {}", said.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Moves what comes and goes over the line until it ends.
async fn drive(mut connection: Connection<Socket, Encrypted<Socket>>, notified: Arc<Notify>, ended: CancellationToken) {
    let _ended = ended.drop_guard();
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(_) = message {
            notified.notify_one();
        }
    }
}
