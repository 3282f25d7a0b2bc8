//! Keeps a session up, for ever: connect, hold, say how it is, and once it is lost begin anew with the next host.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{core::Core, session::Session};
use crate::ConnectionState;

/// The shortest pause between two tries.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest: a broker that comes back is used within this.
const LONGEST: Duration = Duration::from_secs(15);

/// Runs until the core is stopped.
pub(super) async fn supervise(core: Arc<Core>) {
    let mut failures = 0;
    for host in 0.. {
        let opened = tokio::select! {
            opened = Session::open(&core, core.address.host(host)) => opened,
            () = core.stop.cancelled() => break,
        };
        match opened {
            Ok(session) => {
                core.defect.send_replace(None);
                let begun = Instant::now();
                hold(&core, &session).await;
                failures = failures_after(failures, begun.elapsed());
            }
            Err(error) => {
                failures += 1;
                // Whoever holds the link says so once; this is said for every try.
                tracing::debug!(%error, failures, "broker.not_reached");
                core.link.send_replace(ConnectionState::Away(error.to_string()));
                core.defect.send_replace(error.is_fatal().then_some(error));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures, core.chance())) => {}
            () = core.stop.cancelled() => break,
        }
    }
    core.link.send_replace(ConnectionState::Away("closed".to_owned()));
    core.ended.cancel();
}

/// Lends a session out until it fails or the core is stopped.
async fn hold(core: &Core, session: &Arc<Session>) {
    core.session.send_replace(Some(Arc::clone(session)));
    let reason = tokio::select! {
        reason = session.health.failed() => reason,
        () = relay(core, session) => unreachable!("it relays until it is dropped"),
        () = core.stop.cancelled() => "closed".to_owned(),
    };
    if core.stop.is_cancelled() {
        session.flush().await;
    }
    core.link.send_replace(ConnectionState::Away(reason.clone()));
    core.session.send_replace(None);
    session.close(&reason).await;
}

/// Passes on whether the session is blocked.
async fn relay(core: &Core, session: &Session) {
    let mut blocks = session.health.blocks();
    loop {
        blocks.borrow_and_update();
        let link = session.health.blocked().map_or(ConnectionState::Ready, ConnectionState::Blocked);
        core.link.send_if_modified(|now| {
            let changes = *now != link;
            *now = link;
            changes
        });
        if blocks.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A session that did not last counts as one more failure: a consumer that is refused, or a queue without a leader, ends
/// every session right after it began, and connecting five times a second would not mend that.
fn failures_after(failures: u32, lasted: Duration) -> u32 {
    if lasted < LONGEST { failures + 1 } else { 0 }
}

/// Full jitter up to a bound that doubles with each failure in a row, so that many processes do not return as one.
fn pause(failures: u32, chance: f64) -> Duration {
    let bound = SHORTEST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
    SHORTEST + bound.saturating_sub(SHORTEST).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_fifteen_seconds_and_never_below_the_shortest() {
        assert_eq!(pause(0, 0.0), SHORTEST);
        assert_eq!(pause(1, 1.0), Duration::from_millis(400));
        assert_eq!(pause(40, 1.0), LONGEST);
        assert_eq!(pause(40, 0.0), SHORTEST);
    }

    #[test]
    fn only_a_session_that_lasted_makes_the_next_pause_short_again() {
        assert_eq!(failures_after(3, Duration::from_secs(1)), 4);
        assert_eq!(failures_after(3, LONGEST), 0);
    }
}
