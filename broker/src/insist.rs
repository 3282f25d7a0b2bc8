//! Publishing until it is confirmed: what routers and deliverers do, since they hold the only other copy.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::{Broker, Link, Message, PublishError, Target};

/// How long to insist.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Give up once this reads true (shutdown).
    pub stop: watch::Receiver<bool>,
    /// Give up after this long, if at all.
    pub limit: Option<Duration>,
}

/// The first pause after a refusal; doubled each time. A nack usually means a full or leaderless queue, which takes
/// about half a second to mend.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: long enough not to hammer, short enough not to be noticed after a mend.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publishes `message` until it is confirmed. While the broker is away or blocked it waits for that to change.
///
/// # Errors
/// The last error, once patience ends, or at once when the message is too large to be ever taken.
pub async fn insist(
    broker: &dyn Broker,
    to: &Target,
    message: &Message,
    mut patience: Patience,
) -> Result<(), PublishError> {
    let deadline = patience.limit.map(|limit| Instant::now() + limit);
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match broker.publish(to, message).await {
            Ok(()) => return Ok(()),
            Err(error @ PublishError::TooLarge) => return Err(error),
            Err(error) => error,
        };
        tracing::debug!(%error, "publish.retried");
        let mut link = broker.link();
        let recovered = async {
            match error {
                PublishError::Away(_) | PublishError::Blocked(_) | PublishError::Lost(_) => {
                    let _ = link.wait_for(|link| *link == Link::Ready).await;
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
                _ => tokio::time::sleep(pause).await,
            }
        };
        let expired = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = recovered => pause = (pause * 2).min(LONGEST_PAUSE),
            () = expired => return Err(error),
            Ok(_) = patience.stop.wait_for(|stop| *stop) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
