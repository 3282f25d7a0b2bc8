//! Publishing until it is confirmed: what routers and deliverers do, since they hold the only other copy.

use std::{pin::pin, time::Duration};

use tokio::sync::watch;

use crate::{Broker, Link, Message, PublishError, Target, progress};

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
/// The last error, once patience ends, or at once when the message is too large to be ever taken. A confirm that is
/// under way when patience ends is `Lost`; at shutdown it is waited for, unless the broker does not flow.
pub async fn insist(
    broker: &dyn Broker,
    to: &Target,
    message: &Message,
    mut patience: Patience,
) -> Result<(), PublishError> {
    let mut expired = pin!(expiry(patience.limit));
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = tokio::select! {
            biased;
            answer = broker.publish(to, message) => answer,
            // An alarm may hold a confirm back for hours.
            () = &mut expired => return Err(PublishError::Lost("patience ended".to_owned())),
            Ok(()) = stuck(broker, &mut patience.stop) => return Err(PublishError::Lost("shutdown".to_owned())),
        };
        let error = match answer {
            Ok(()) => return Ok(()),
            Err(error @ PublishError::TooLarge) => return Err(error),
            Err(error) => error,
        };
        progress::renew();
        tracing::debug!(%error, event_id = message.id, "publish.retried");
        tokio::select! {
            () = recovered(broker, &error, pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = &mut expired => return Err(error),
            Ok(_) = patience.stop.wait_for(|stop| *stop) => return Err(error),
        }
    }
}

async fn expiry(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Waits until the process is to end while the broker does not flow: no confirm may come for long.
async fn stuck(broker: &dyn Broker, stop: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    stop.wait_for(|stop| *stop).await?;
    broker.link().wait_for(|link| *link != Link::Ready).await.map(drop)
}

/// Waits until it is worth another try.
async fn recovered(broker: &dyn Broker, error: &PublishError, pause: Duration) {
    match error {
        PublishError::Away(_) | PublishError::Blocked(_) | PublishError::Lost(_) => {
            let _ = broker.link().wait_for(|link| *link == Link::Ready).await;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        _ => tokio::time::sleep(pause).await,
    }
}

#[cfg(test)]
mod tests;
