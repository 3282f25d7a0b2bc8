//! Tells the service manager (systemd) how the process is, and ends a process that is stuck, so that it is started anew.
//!
//! It has a thread of its own: where everything blocks the threads of the runtime, no task would run.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

use crate::{
    exit::Exit,
    ops::{Ops, OpsConfig},
};

/// Longest time between two looks at the probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest time that the log line of a stuck process may take. What reads the log may be what the process is stuck in.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// Tells the service manager that the process listens, and from then on that it is alive. Ends the process with
/// [`Exit::Stuck`] when `/healthz` fails for longer than allowed.
pub fn start(ops: Ops, config: &OpsConfig) -> io::Result<()> {
    notify(NotifyState::Ready);
    let max_stuck = config.max_stuck.0;
    let pause = pause(max_stuck, sd_notify::watchdog_enabled());
    let mut looks = Looks { max_stuck, stuck_since: None };
    thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
        loop {
            let stuck = ops.stuck();
            match looks.add(!stuck.is_empty(), Instant::now()) {
                // One that is lost is not logged: the next one follows soon. A role that is stuck is judged by `max_stuck`
                // alone, so the service manager hears of it only if this thread stands still too.
                Look::Alive | Look::Stuck => drop(sd_notify::notify(&[NotifyState::Watchdog])),
                Look::StuckForTooLong => {
                    log_end(stuck, max_stuck);
                    std::process::exit(Exit::Stuck.code().into());
                }
            }
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

/// Tells the service manager that the process begins to drain.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Does nothing without a service manager.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "supervisor.unheard");
    }
}

fn log_end(stuck: BTreeMap<&'static str, String>, max_stuck: Duration) {
    let (logging, logged) = mpsc::channel::<()>();
    // Where no further thread can be made, the process ends without the line.
    let _ = thread::Builder::new().spawn(move || {
        let error = stuck.iter().map(|(part, why)| format!("{part}: {why}")).collect::<Vec<_>>().join(", ");
        tracing::error!(error, limit_s = max_stuck.as_secs(), "process.stuck");
        drop(logging);
    });
    // An error says that the line is written.
    let _ = logged.recv_timeout(LOG_LIMIT);
}

/// What a look at the probes means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Alive,
    Stuck,
    StuckForTooLong,
}

/// The looks so far. Time is an argument.
struct Looks {
    /// Zero: a stuck process goes on.
    max_stuck: Duration,
    stuck_since: Option<Instant>,
}

impl Looks {
    fn add(&mut self, is_stuck: bool, now: Instant) -> Look {
        if !is_stuck {
            self.stuck_since = None;
            return Look::Alive;
        }
        let since = *self.stuck_since.get_or_insert(now);
        match !self.max_stuck.is_zero() && now - since >= self.max_stuck {
            true => Look::StuckForTooLong,
            false => Look::Stuck,
        }
    }
}

/// Time between two looks. `watchdog` is the time after which the service manager ends a process without a sign of life;
/// it advises to give one in half of that time.
fn pause(max_stuck: Duration, watchdog: Option<Duration>) -> Duration {
    let limits = [Some(max_stuck), watchdog].into_iter().flatten().filter(|limit| !limit.is_zero());
    limits.map(|limit| limit / 2).fold(LONGEST_PAUSE, Duration::min)
}

#[cfg(test)]
mod tests;
