//! The one task that speaks with the database: it connects, for ever, and does one thing after the other.
//!
//! While the database is away, whoever asks is told so at once; nobody waits in a queue for it to come back.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use super::{database::PostgresDatabase, session::PostgresFailure, session::PostgresSession, url::DatabaseUrl};
use crate::{StoreError, StoreOpenError};

/// Between two attempts to connect: doubled after each, up to the last. A few processes are no herd.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Between two looks that were asked for. Who asks meanwhile shares the next: strangers who show keys that nobody knows
/// each make the store look, and must not be able to keep the database busy.
const BETWEEN_PULLS: Duration = Duration::from_millis(20);

/// Something to be done: with a session, or told why there is none.
pub(super) type DatabaseJob = Box<
    dyn for<'a> FnOnce(Result<(&'a PostgresDatabase, &'a PostgresSession), StoreError>) -> BoxFuture<'a, ()> + Send,
>;

/// Who waits for the snapshot to be up to date.
pub(super) type PullReply = oneshot::Sender<Result<(), StoreError>>;

/// What the task owns.
pub(super) struct ConnectionTask {
    pub(super) address: DatabaseUrl,
    pub(super) database: PostgresDatabase,
    /// How often the database is asked for changes although it did not notify of any.
    pub(super) poll: Duration,
    pub(super) jobs: mpsc::Receiver<DatabaseJob>,
    pub(super) pulls: mpsc::UnboundedReceiver<PullReply>,
    /// Told what came of the first attempt to connect; then gone.
    pub(super) first: Option<oneshot::Sender<Result<(), PostgresFailure>>>,
}

impl ConnectionTask {
    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        let mut why = StoreError("it is being connected for the first time".to_owned());
        loop {
            let notified = Arc::new(Notify::new());
            let session = self.connected(&mut why, &notified).await;
            tracing::info!("store.connected");
            self.serve(&session, &notified).await;
            why = StoreError("the connection to the database is lost".to_owned());
            tracing::warn!(error = %why, "store.away");
        }
    }

    /// Connects, however long that takes. `why` is what others are told meanwhile.
    async fn connected(&mut self, why: &mut StoreError, notified: &Arc<Notify>) -> PostgresSession {
        let mut pause = FIRST_PAUSE;
        loop {
            let (address, database, notified) = (self.address.clone(), self.database.clone(), notified.clone());
            let attempt = async move {
                let session = PostgresSession::open(&address, notified).await?;
                database.begin(&session).await.map(|()| session)
            };
            let failure = match self.meanwhile(why, attempt).await {
                Ok(session) => {
                    self.database.current.sync.succeeded();
                    self.heard_first(Ok(()));
                    return session;
                }
                Err(failure) => failure,
            };
            self.database.current.sync.failed();
            let said = StoreError(failure.to_string());
            if said != *why {
                match &failure {
                    PostgresFailure::Defect(defect) => tracing::error!(error = %defect, "store.unusable"),
                    other => tracing::warn!(error = %other, "store.away"),
                }
            }
            *why = said;
            self.heard_first(Err(failure));
            self.meanwhile(why, sleep(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Awaits something, and tells whoever asks meanwhile that the database is away.
    async fn meanwhile<T>(&mut self, why: &StoreError, awaited: impl Future<Output = T>) -> T {
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                done = &mut awaited => return done,
                Some(job) = self.jobs.recv() => job(Err(why.clone())).await,
                // Whoever stopped waiting need not hear it.
                Some(puller) = self.pulls.recv() => {
                    let _ = puller.send(Err(why.clone()));
                }
            }
        }
    }

    fn heard_first(&mut self, heard: Result<(), PostgresFailure>) {
        if let Some(first) = self.first.take() {
            let _ = first.send(heard);
        }
    }

    /// Does what there is to do until the session breaks.
    async fn serve(&mut self, session: &PostgresSession, notified: &Notify) {
        let mut poll = interval_at(Instant::now() + self.poll, self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_pull = Instant::now();
        while !session.is_broken() {
            tokio::select! {
                Some(job) = self.jobs.recv() => job(Ok((&self.database, session))).await,
                Some(puller) = asked(&mut self.pulls, may_pull) => {
                    self.pull(session, Some(puller)).await;
                    may_pull = Instant::now() + BETWEEN_PULLS;
                }
                () = notified.notified() => self.pull(session, None).await,
                _ = poll.tick() => self.pull(session, None).await,
                () = session.ended() => return,
            }
        }
    }

    /// One look for all who wait for one by now.
    async fn pull(&mut self, session: &PostgresSession, first: Option<PullReply>) {
        let mut waiting: Vec<_> = first.into_iter().collect();
        while let Ok(puller) = self.pulls.try_recv() {
            waiting.push(puller);
        }
        let pulled = self.database.pull(session).await;
        match &pulled {
            Ok(_) => self.database.current.sync.succeeded(),
            Err(failure) => {
                self.database.current.sync.failed();
                tracing::warn!(error = %failure, "store.not_pulled");
            }
        }
        let error_text = pulled.map(drop).map_err(StoreError::from);
        for puller in waiting {
            let _ = puller.send(error_text.clone());
        }
    }
}

/// The first who asks, but not before `at`.
async fn asked(pulls: &mut mpsc::UnboundedReceiver<PullReply>, at: Instant) -> Option<PullReply> {
    sleep_until(at).await;
    pulls.recv().await
}

/// What a failed first attempt means to who opens the store: only a defect is for a person to mend.
pub(super) fn defect(heard: Result<(), PostgresFailure>) -> Result<(), StoreOpenError> {
    match heard {
        Err(PostgresFailure::Defect(defect)) => Err(defect),
        _ => Ok(()),
    }
}
