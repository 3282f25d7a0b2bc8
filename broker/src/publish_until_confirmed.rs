//! Publishing a message until it is confirmed, for routers and deliverers: what they publish exists nowhere else yet.

use std::{pin::pin, time::Duration};

use schemas::Message;
use tokio_util::sync::CancellationToken;

use crate::{Broker, ConnectionState, PublishError, Target};

#[derive(Clone, Debug)]
pub struct Deadline {
    /// Cancelled at shutdown.
    pub stop: CancellationToken,
    /// `None` for publishing that is given up at shutdown only.
    pub limit: Option<Duration>,
}

/// First pause after a refusal; the pause doubles each time. A nack usually means a full or leaderless queue, which takes
/// about half a second to recover.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two tries: it spares a broker in trouble, and goes unnoticed once the broker has recovered.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publishes `message` until it is confirmed. While the broker is away or blocked it waits for that to change.
///
/// # Errors
/// The last error, once the deadline has come, or at once when the message is larger than the broker takes. A publish
/// whose confirm is still awaited at the deadline is `Lost`; at shutdown the confirm is awaited for as long as messages
/// flow.
pub async fn publish_until_confirmed(
    broker: &dyn Broker,
    to: &Target,
    message: &Message,
    deadline: Deadline,
) -> Result<(), PublishError> {
    let mut expired = pin!(expiry(deadline.limit));
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = tokio::select! {
            biased;
            answer = broker.publish(to, message) => answer,
            // An alarm of RabbitMQ may hold a confirm back for hours.
            () = &mut expired => return Err(PublishError::Lost("the deadline has come".to_owned())),
            () = stopped_without_flow(broker, &deadline.stop) => return Err(PublishError::Lost("shutdown".to_owned())),
        };
        let error = match answer {
            Ok(()) => return Ok(()),
            Err(error @ PublishError::TooLarge) => return Err(error),
            Err(error) => error,
        };
        service::watchdog::renew();
        tracing::debug!(%error, event_id = message.id, "publish.retried");
        tokio::select! {
            () = recovered(broker, &error, pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = &mut expired => return Err(error),
            () = deadline.stop.cancelled() => return Err(error),
        }
    }
}

async fn expiry(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Returns at shutdown once the broker takes no publishes: a confirm may then be hours away.
async fn stopped_without_flow(broker: &dyn Broker, stop: &CancellationToken) {
    stop.cancelled().await;
    if broker.connection_state().wait_for(|state| *state != ConnectionState::Ready).await.is_err() {
        // A broker that was dropped answers the publish itself.
        std::future::pending::<()>().await;
    }
}

async fn recovered(broker: &dyn Broker, error: &PublishError, pause: Duration) {
    match error {
        PublishError::Away(_) | PublishError::Blocked(_) | PublishError::Lost(_) => {
            let _ = broker.connection_state().wait_for(|state| *state == ConnectionState::Ready).await;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        _ => tokio::time::sleep(pause).await,
    }
}

#[cfg(test)]
mod tests;
