//! Knows whether the database answers: one session that asks nothing, and is opened again whenever it ends.
//!
//! While the database is away, every call fails at once instead of waiting for a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use service::postgres::{DatabaseUrl, PostgresSession};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};

use super::{error::HistoryDatabaseError, migrations};

/// First pause between two attempts to connect. It doubles with each attempt, up to the longest. It has no jitter,
/// because few processes share a database.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// First statements of every session. The server's limits are a little longer than this program's, and make it release
/// the locks of a process that vanished. A statement that waits for a lock fails within this program's limit. Every
/// question has an index that leads to it in its order, and of the newest days, which are asked for most, the planner has no
/// statistics yet: it is told to go by indexes.
pub(super) const BEGINNING: &str = "
    SET search_path TO carteiro_history;
    SET client_min_messages TO warning;
    SET statement_timeout TO '25s';
    SET lock_timeout TO '2s';
    SET idle_in_transaction_session_timeout TO '25s';
    SET enable_seqscan TO off;
    SET enable_bitmapscan TO off;
    SET enable_hashjoin TO off;
    SET enable_mergejoin TO off;
    SET jit TO off;
";

/// Receives the result of the first attempt to connect.
pub(super) type FirstAttempt = oneshot::Sender<Result<(), HistoryDatabaseError>>;

/// Keeps `is_connected` true while the database answers and its tables are those of this version. Runs until it is dropped.
pub(super) async fn watch(url: DatabaseUrl, is_connected: Arc<AtomicBool>, first_attempt: FirstAttempt) {
    let mut first_attempt = Some(first_attempt);
    let mut pause = FIRST_PAUSE;
    let mut reason = String::new();
    loop {
        let opened = open(&url).await;
        let session = match opened {
            Ok(session) => {
                is_connected.store(true, Ordering::Release);
                report(&mut first_attempt, Ok(()));
                session
            }
            Err(error) => {
                if reason != error.to_string() {
                    reason = error.to_string();
                    tracing::warn!(%error, "history.not_connected");
                }
                report(&mut first_attempt, Err(error));
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        reason.clear();
        session.ended().await;
        is_connected.store(false, Ordering::Release);
    }
}

async fn open(url: &DatabaseUrl) -> Result<PostgresSession, HistoryDatabaseError> {
    let session = PostgresSession::open(url, BEGINNING, Arc::new(Notify::new())).await?;
    migrations::apply(&session, &url.place).await?;
    Ok(session)
}

fn report(first_attempt: &mut Option<FirstAttempt>, result: Result<(), HistoryDatabaseError>) {
    if let Some(first_attempt) = first_attempt.take() {
        // The caller may have stopped waiting.
        let _ = first_attempt.send(result);
    }
}
