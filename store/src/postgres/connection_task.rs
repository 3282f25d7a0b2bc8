//! The one task that uses the connection to the database. It connects, again and again if needed, and runs one job
//! after the other.
//!
//! While the database is away, every request fails at once instead of waiting in a queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use super::{
    database::PostgresDatabase,
    failure::{BEGINNING, PostgresFailure},
};
use crate::{StoreError, StoreOpenError};
use service::postgres::{DatabaseUrl, PostgresSession};

/// First pause between two attempts to connect. It doubles with each attempt, up to the longest. It has no jitter,
/// because few processes share a database.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Shortest time between two requested pulls. Requests within it share the next one. Every unknown key that anyone
/// presents causes a pull, which must not keep the database busy.
const BETWEEN_PULLS: Duration = Duration::from_millis(20);

/// A job for the connection. It gets a session, or the reason why there is none.
pub(super) type DatabaseJob = Box<
    dyn for<'a> FnOnce(Result<(&'a PostgresDatabase, &'a PostgresSession), StoreError>) -> BoxFuture<'a, ()> + Send,
>;

/// Sends the result of a requested pull.
pub(super) type PullReply = oneshot::Sender<Result<(), StoreError>>;

pub(super) struct ConnectionTask {
    pub(super) url: DatabaseUrl,
    pub(super) database: PostgresDatabase,
    /// Interval at which the database is asked for changes although it has not notified of any.
    pub(super) poll: Duration,
    pub(super) jobs: mpsc::Receiver<DatabaseJob>,
    pub(super) pulls: mpsc::UnboundedReceiver<PullReply>,
    /// True while there is a session.
    pub(super) is_connected: Arc<AtomicBool>,
    /// Receives the result of the first attempt to connect.
    pub(super) first_attempt: Option<oneshot::Sender<Result<(), PostgresFailure>>>,
}

impl ConnectionTask {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut reason = StoreError("it is being connected for the first time".to_owned());
        loop {
            let notified = Arc::new(Notify::new());
            let session = self.connected(&mut reason, &notified).await;
            tracing::info!("store.connected");
            self.serve(&session, &notified).await;
            self.is_connected.store(false, Ordering::Release);
            reason = StoreError("the connection to the database is lost".to_owned());
            tracing::warn!(error = %reason, "store.away");
        }
    }

    /// Connects, however long that takes. Meanwhile requests fail with `reason`.
    async fn connected(&mut self, reason: &mut StoreError, notified: &Arc<Notify>) -> PostgresSession {
        let mut pause = FIRST_PAUSE;
        loop {
            let (url, database, notified) = (self.url.clone(), self.database.clone(), notified.clone());
            let attempt = async move {
                let session = PostgresSession::open(&url, BEGINNING, notified).await?;
                database.begin(&session).await.map(|()| session)
            };
            let failure = match self.refuse_until(reason, attempt).await {
                Ok(session) => {
                    self.database.current.sync.succeeded();
                    self.is_connected.store(true, Ordering::Release);
                    self.report_first_attempt(Ok(()));
                    return session;
                }
                Err(failure) => failure,
            };
            self.database.current.sync.failed();
            let text = StoreError(failure.to_string());
            if text != *reason {
                match &failure {
                    PostgresFailure::Defect(defect) => tracing::error!(error = %defect, "store.unusable"),
                    other => tracing::warn!(error = %other, "store.away"),
                }
            }
            *reason = text;
            self.report_first_attempt(Err(failure));
            self.refuse_until(reason, sleep(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Awaits a future, and answers every request meanwhile that the database is away.
    async fn refuse_until<T>(&mut self, reason: &StoreError, awaited: impl Future<Output = T>) -> T {
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                done = &mut awaited => return done,
                Some(job) = self.jobs.recv() => job(Err(reason.clone())).await,
                // The caller may have stopped waiting.
                Some(reply) = self.pulls.recv() => {
                    let _ = reply.send(Err(reason.clone()));
                }
            }
        }
    }

    fn report_first_attempt(&mut self, result: Result<(), PostgresFailure>) {
        if let Some(first_attempt) = self.first_attempt.take() {
            let _ = first_attempt.send(result);
        }
    }

    /// Answers requests until the session breaks.
    async fn serve(&mut self, session: &PostgresSession, notified: &Notify) {
        let mut poll = interval_at(Instant::now() + self.poll, self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_pull = Instant::now();
        while !session.is_broken() {
            tokio::select! {
                Some(job) = self.jobs.recv() => job(Ok((&self.database, session))).await,
                Some(reply) = requested(&mut self.pulls, next_pull) => {
                    self.pull(session, Some(reply)).await;
                    next_pull = Instant::now() + BETWEEN_PULLS;
                }
                () = notified.notified() => self.pull(session, None).await,
                _ = poll.tick() => self.pull(session, None).await,
                () = session.ended() => return,
            }
        }
    }

    /// Pulls once for all requests that wait by now.
    async fn pull(&mut self, session: &PostgresSession, first: Option<PullReply>) {
        let mut waiting: Vec<_> = first.into_iter().collect();
        while let Ok(reply) = self.pulls.try_recv() {
            waiting.push(reply);
        }
        let pulled = self.database.pull(session).await;
        match &pulled {
            Ok(_) => self.database.current.sync.succeeded(),
            Err(failure) => {
                self.database.current.sync.failed();
                tracing::warn!(error = %failure, "store.not_pulled");
            }
        }
        let result = pulled.map(drop).map_err(StoreError::from);
        for reply in waiting {
            let _ = reply.send(result.clone());
        }
    }
}

/// Returns the next request for a pull, but not before `at`.
async fn requested(pulls: &mut mpsc::UnboundedReceiver<PullReply>, at: Instant) -> Option<PullReply> {
    sleep_until(at).await;
    pulls.recv().await
}

/// Decides from the first attempt to connect whether the store fails to open. A database that is only away is connected
/// later.
pub(super) fn open_error(first_attempt: Result<(), PostgresFailure>) -> Result<(), StoreOpenError> {
    match first_attempt {
        Err(PostgresFailure::Defect(defect)) => Err(defect),
        _ => Ok(()),
    }
}
