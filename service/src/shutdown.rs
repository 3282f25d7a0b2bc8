//! Orderly shutdown: the first SIGTERM or SIGINT cancels a token, the second ends the process at once.
//!
//! The token is the only way to stop anything. A role whose token is cancelled accepts no more work, finishes its
//! current work, and returns.

use std::{
    future::{Future, pending},
    io,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, supervisor};

/// Longest time for a role to finish its work: twice the longest attempt (15 s). The broker hands out the rest again.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Returns a token that the first SIGTERM or SIGINT cancels. The second ends the process at once with [`Exit::Failed`].
/// Needs a Tokio runtime, and fails when the system refuses the handlers.
pub fn on_signals() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let signals = Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
    tokio::spawn(obey(signals, stop.clone(), || std::process::exit(Exit::Failed.code().into())));
    Ok(stop)
}

/// Waits at most `limit` for `work`, then drops it, logs the result of `left`, and returns none. The broker hands out
/// again everything that was not settled.
pub async fn drain<F: Future>(limit: Duration, work: F, left: impl FnOnce() -> String) -> Option<F::Output> {
    let done = tokio::time::timeout(limit, work).await.ok();
    if done.is_none() {
        let left = left();
        tracing::warn!(limit_s = limit.as_secs(), left, "shutdown.gave_up");
    }
    done
}

struct Signals {
    term: Signal,
    int: Signal,
}

trait Requests {
    /// Name of the next request. None when no more can follow.
    fn next(&mut self) -> impl Future<Output = Option<&'static str>> + Send;
}

impl Requests for Signals {
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            Some(()) = self.term.recv() => Some("SIGTERM"),
            Some(()) = self.int.recv() => Some("SIGINT"),
            else => None,
        }
    }
}

async fn obey(mut requests: impl Requests, stop: CancellationToken, end: impl FnOnce()) {
    let Some(first) = requests.next().await else { return pending().await };
    tracing::info!(signal = first, "shutdown.requested");
    supervisor::stopping();
    stop.cancel();
    let Some(second) = requests.next().await else { return pending().await };
    tracing::warn!(signal = second, "shutdown.forced");
    end();
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    impl Requests for mpsc::Receiver<&'static str> {
        async fn next(&mut self) -> Option<&'static str> {
            self.recv().await
        }
    }

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_ends_the_process() {
        let stop = CancellationToken::new();
        let (signals, requests) = mpsc::channel(1);
        let (ended, mut end) = oneshot::channel();
        tokio::spawn(obey(requests, stop.clone(), || ended.send(()).unwrap()));
        assert!(!stop.is_cancelled());

        signals.send("SIGTERM").await.unwrap();
        stop.cancelled().await;
        assert!(end.try_recv().is_err(), "one signal must not end the process");

        signals.send("SIGINT").await.unwrap();
        end.await.unwrap();
    }

    #[tokio::test]
    async fn a_real_sigterm_asks() {
        let stop = on_signals().unwrap();
        let kill = format!("kill -TERM {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        stop.cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn draining_gives_up_after_its_limit_and_says_what_was_left() {
        let begun = tokio::time::Instant::now();
        let mut asked = false;
        let left = || {
            asked = true;
            "3 deliveries".to_owned()
        };
        assert_eq!(drain(DRAIN_LIMIT, pending::<()>(), left).await, None);
        assert_eq!(begun.elapsed(), DRAIN_LIMIT);
        assert!(asked);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_work() {
        let work = async { 7 };
        assert_eq!(drain(DRAIN_LIMIT, work, || unreachable!("nothing was left")).await, Some(7));
    }
}
