//! The supervisor: keeps a session up, for ever, with each host in turn.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{client::RabbitMqClient, session::Session};
use crate::ConnectionState;

const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two tries, and so until a returned broker is used.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) async fn supervise(client: Arc<RabbitMqClient>) {
    let mut failures = 0;
    for host in 0.. {
        let opened = tokio::select! {
            opened = Session::open(&client.setup, client.hosts.host(host)) => opened,
            () = client.stop.cancelled() => break,
        };
        match opened {
            Ok(session) => {
                client.defect.send_replace(None);
                let begun = Instant::now();
                hold(&client, &session).await;
                failures = failures_after(failures, begun.elapsed());
            }
            Err(error) => {
                failures += 1;
                // Debug, because the process logs the connection's state once.
                tracing::debug!(%error, failures, "broker.not_reached");
                client.connection_state.send_replace(ConnectionState::Away(error.to_string()));
                client.defect.send_replace(error.is_fatal().then_some(error));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures, client.random())) => {}
            () = client.stop.cancelled() => break,
        }
    }
    client.connection_state.send_replace(ConnectionState::Away("closed".to_owned()));
    client.ended.cancel();
}

async fn hold(client: &RabbitMqClient, session: &Arc<Session>) {
    client.session.send_replace(Some(Arc::clone(session)));
    let reason = tokio::select! {
        reason = session.health.failed() => reason,
        () = relay_blocks(client, session) => unreachable!("it relays until it is dropped"),
        () = client.stop.cancelled() => "closed".to_owned(),
    };
    if client.stop.is_cancelled() {
        session.flush().await;
    }
    client.connection_state.send_replace(ConnectionState::Away(reason.clone()));
    client.session.send_replace(None);
    session.close(&reason).await;
}

async fn relay_blocks(client: &RabbitMqClient, session: &Session) {
    let mut blocks = session.health.blocks();
    loop {
        blocks.borrow_and_update();
        let state = session.health.blocked().map_or(ConnectionState::Ready, ConnectionState::Blocked);
        client.connection_state.send_if_modified(|now| {
            let changes = *now != state;
            *now = state;
            changes
        });
        if blocks.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A short session counts as one more failure: a refused consumer or a queue without a leader ends every session right
/// after it began, and connecting five times a second would not mend that.
fn failures_after(failures: u32, lasted: Duration) -> u32 {
    if lasted < LONGEST_PAUSE { failures + 1 } else { 0 }
}

/// Full jitter up to a bound that doubles with each failure, so that many processes do not reconnect at once.
fn pause(failures: u32, random: f64) -> Duration {
    let bound = SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    SHORTEST_PAUSE + bound.saturating_sub(SHORTEST_PAUSE).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_fifteen_seconds_and_are_never_below_the_shortest() {
        assert_eq!(pause(0, 0.0), SHORTEST_PAUSE);
        assert_eq!(pause(1, 1.0), Duration::from_millis(400));
        assert_eq!(pause(40, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(40, 0.0), SHORTEST_PAUSE);
    }

    #[test]
    fn only_a_session_that_lasted_makes_the_next_pause_short_again() {
        assert_eq!(failures_after(3, Duration::from_secs(1)), 4);
        assert_eq!(failures_after(3, LONGEST_PAUSE), 0);
    }
}
