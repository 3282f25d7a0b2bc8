//! A session beside others: a slow statement on it delays and breaks nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};
use tokio_postgres::{CancelToken, NoTls};

use super::{DatabaseError, DatabaseUrl, PostgresSession};

/// One connection that is made when it is first needed. Its jobs run one after the other.
pub struct SideSession {
    url: DatabaseUrl,
    /// Time limit of one statement, which the server itself keeps.
    statement_limit: Duration,
    /// Time limit of a job, with its wait for the session.
    job_limit: Duration,
    session: Mutex<Option<PostgresSession>>,
    /// First statements of the session.
    beginning: String,
    /// True while the database is known to answer. Otherwise every job fails at once.
    is_connected: Arc<AtomicBool>,
}

impl SideSession {
    pub fn new(
        url: &DatabaseUrl,
        beginning: &str,
        [statement, job]: [Duration; 2],
        is_connected: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            url: url.clone(),
            statement_limit: statement,
            job_limit: job,
            session: Mutex::default(),
            beginning: beginning.to_owned(),
            is_connected: is_connected.clone(),
        }
    }

    /// Runs a job. When its caller stops waiting, the server is told to give the statement up.
    pub async fn run<T, E: From<DatabaseError>>(
        &self,
        job: impl for<'a> FnOnce(&'a PostgresSession) -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        if !self.is_connected.load(Ordering::Acquire) {
            return Err(DatabaseError("the database is away".to_owned()).into());
        }
        let done = async {
            let mut place = self.session.lock().await;
            // The session is put back only after a whole job: an answer that nobody awaits could meet the next one.
            let session = match place.take().filter(|session| !session.is_broken()) {
                Some(session) => session,
                None => self.open().await?,
            };
            let mut cancel = CancelOnDrop(Some((session.cancel_token(), self.url.clone())));
            let done = job(&session).await;
            if !session.is_broken() {
                cancel.0 = None;
                *place = Some(session);
            }
            done
        };
        let too_slow = || DatabaseError("the database did not answer in time".to_owned());
        timeout(self.job_limit, done).await.unwrap_or_else(|_| Err(too_slow().into()))
    }

    async fn open(&self) -> Result<PostgresSession, DatabaseError> {
        let session = PostgresSession::open(&self.url, &self.beginning, Arc::new(Notify::new())).await?;
        let limit = self.statement_limit.as_millis();
        session.batch(&format!("UNLISTEN *; SET statement_timeout TO '{limit}ms'")).await?;
        Ok(session)
    }
}

/// Cancels the statement of a job that was not awaited to its end.
struct CancelOnDrop(Option<(CancelToken, DatabaseUrl)>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((token, url)) = self.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // The server's own time limit ends a statement that cannot be cancelled.
            let _ = match url.tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            };
        });
    }
}
