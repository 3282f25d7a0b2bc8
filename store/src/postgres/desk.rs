//! The one task that speaks with the database: it connects, for ever, and does one thing after the other.
//!
//! While the database is away, whoever asks is told so at once; nobody waits in a queue for it to come back.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use super::{address::Address, failure::Failure, session::Session, work::Work};
use crate::{OpenError, StoreError};

/// Between two attempts to connect: doubled after each, up to the last. A few processes are no herd.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Between two looks that were asked for. Who asks meanwhile shares the next: strangers who show keys that nobody knows
/// each make the store look, and must not be able to keep the database busy.
const BETWEEN_PULLS: Duration = Duration::from_millis(20);

/// Something to be done: with a session, or told why there is none.
pub(super) type Job = Box<dyn for<'a> FnOnce(Result<(&'a Work, &'a Session), StoreError>) -> BoxFuture<'a, ()> + Send>;

/// Who waits for the snapshot to be up to date.
pub(super) type Puller = oneshot::Sender<Result<(), StoreError>>;

/// What the task owns.
pub(super) struct Desk {
    pub(super) address: Address,
    pub(super) work: Work,
    /// How often the database is asked for changes although it did not notify of any.
    pub(super) poll: Duration,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) pulls: mpsc::UnboundedReceiver<Puller>,
    /// Told what came of the first attempt to connect; then gone.
    pub(super) first: Option<oneshot::Sender<Result<(), Failure>>>,
}

impl Desk {
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
    async fn connected(&mut self, why: &mut StoreError, notified: &Arc<Notify>) -> Session {
        let mut pause = FIRST_PAUSE;
        loop {
            let (address, work, notified) = (self.address.clone(), self.work.clone(), notified.clone());
            let attempt = async move {
                let session = Session::open(&address, notified).await?;
                work.begin(&session).await.map(|()| session)
            };
            let failure = match self.meanwhile(why, attempt).await {
                Ok(session) => {
                    self.work.current.looks.succeeded();
                    self.heard_first(Ok(()));
                    return session;
                }
                Err(failure) => failure,
            };
            self.work.current.looks.failed();
            let said = StoreError(failure.to_string());
            if said != *why {
                match &failure {
                    Failure::Defect(defect) => tracing::error!(error = %defect, "store.unusable"),
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

    fn heard_first(&mut self, heard: Result<(), Failure>) {
        if let Some(first) = self.first.take() {
            let _ = first.send(heard);
        }
    }

    /// Does what there is to do until the session breaks.
    async fn serve(&mut self, session: &Session, notified: &Notify) {
        let mut poll = interval_at(Instant::now() + self.poll, self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_pull = Instant::now();
        while !session.is_broken() {
            tokio::select! {
                Some(job) = self.jobs.recv() => job(Ok((&self.work, session))).await,
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
    async fn pull(&mut self, session: &Session, first: Option<Puller>) {
        let mut waiting: Vec<_> = first.into_iter().collect();
        while let Ok(puller) = self.pulls.try_recv() {
            waiting.push(puller);
        }
        let pulled = self.work.pull(session).await;
        match &pulled {
            Ok(_) => self.work.current.looks.succeeded(),
            Err(failure) => {
                self.work.current.looks.failed();
                tracing::warn!(error = %failure, "store.not_pulled");
            }
        }
        let told = pulled.map(drop).map_err(StoreError::from);
        for puller in waiting {
            let _ = puller.send(told.clone());
        }
    }
}

/// The first who asks, but not before `at`.
async fn asked(pulls: &mut mpsc::UnboundedReceiver<Puller>, at: Instant) -> Option<Puller> {
    sleep_until(at).await;
    pulls.recv().await
}

/// What a failed first attempt means to who opens the store: only a defect is for a person to mend.
pub(super) fn defect(heard: Result<(), Failure>) -> Result<(), OpenError> {
    match heard {
        Err(Failure::Defect(defect)) => Err(defect),
        _ => Ok(()),
    }
}
