//! Ending in good order: the first SIGTERM or SIGINT asks, the second insists.
//!
//! Nothing here says what a role does when asked: it stops taking work, finishes what it holds, and returns.

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;

/// How long a role may finish what it holds: twice the longest attempt (15 s). What is left then comes back from the
/// broker.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Knows whether the process was asked to end. Clones know the same.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks the process to end, in place of a signal.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Asks. Asking again changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT; the second of them ends the process at once with [`Exit::Failed`].
    ///
    /// Needs a Tokio runtime. Fails when the system refuses the handlers.
    pub fn on_signals() -> io::Result<Self> {
        let (shutdown, trigger) = Self::manual();
        let signals = Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
        tokio::spawn(obey(signals, trigger, || std::process::exit(Exit::Failed.code().into())));
        Ok(shutdown)
    }

    /// One that a test, or an embedding program, triggers itself.
    pub fn manual() -> (Self, Trigger) {
        let (sender, receiver) = watch::channel(false);
        (Self(receiver), Trigger(sender))
    }

    /// One that nobody can request: for what must go on through the drain.
    pub fn never() -> Self {
        Self::manual().0
    }

    /// Whether the process was asked to end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the process was asked to end; at once if it was before. Never, when nobody can ask any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|asked| *asked).await.is_err() {
            pending::<()>().await;
        }
    }

    /// The channel inside, for code that knows no more of this crate than `true` = end.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

/// Waits for `work` to end, at most `limit`; then gives it up and logs what `left` says. `None` = given up.
///
/// Giving up loses nothing: what was not settled comes back from the broker.
pub async fn drain<F: Future>(limit: Duration, work: F, left: impl FnOnce() -> String) -> Option<F::Output> {
    let done = tokio::time::timeout(limit, work).await.ok();
    if done.is_none() {
        let left = left();
        tracing::warn!(limit_s = limit.as_secs(), left, "shutdown.gave_up");
    }
    done
}

/// The two signals that mean the same.
struct Signals {
    term: Signal,
    int: Signal,
}

/// Where the requests to end come from.
trait Requests {
    /// The next request's name; `None` = there will be no more.
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

/// The first request triggers, the second calls `end`.
async fn obey(mut requests: impl Requests, trigger: Trigger, end: impl FnOnce()) {
    let Some(first) = requests.next().await else { return pending().await };
    tracing::info!(signal = first, "shutdown.requested");
    trigger.request();
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
        let (shutdown, trigger) = Shutdown::manual();
        let (signals, requests) = mpsc::channel(1);
        let (ended, mut end) = oneshot::channel();
        tokio::spawn(obey(requests, trigger, || ended.send(()).unwrap()));
        assert!(!shutdown.is_requested());

        signals.send("SIGTERM").await.unwrap();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
        assert!(end.try_recv().is_err(), "one signal must not end the process");

        signals.send("SIGINT").await.unwrap();
        end.await.unwrap();
    }

    #[tokio::test]
    async fn a_real_sigterm_asks() {
        let shutdown = Shutdown::on_signals().unwrap();
        let kill = format!("kill -TERM {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        shutdown.requested().await;
    }

    #[tokio::test]
    async fn a_clone_made_after_the_request_knows_it() {
        let (shutdown, trigger) = Shutdown::manual();
        trigger.request();
        shutdown.clone().requested().await;
        assert!(*shutdown.receiver().borrow());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_trigger_is_no_request() {
        let (shutdown, trigger) = Shutdown::manual();
        drop(trigger);
        assert!(tokio::time::timeout(Duration::from_secs(3_600), shutdown.requested()).await.is_err());
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
