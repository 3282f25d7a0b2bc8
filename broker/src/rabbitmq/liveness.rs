//! Whether there is a broker at the other end of each of a session's connections, asked of each by itself: one name may
//! lead to several nodes, and a line may fall silent for one connection alone. A node that lost its cluster keeps them
//! open and silent too (V14), and only a missing confirm tells.

use std::time::Duration;

use lapin::Connection;
use tokio::{sync::broadcast, time::Instant};

use super::{canary::Canary, echo::Echo, health::Health};

/// Between two signs of life of a connection.
const EVERY: Duration = Duration::from_secs(10);

/// A connection's sign of life that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// `consuming`, `publishing` or `control`.
    pub connection: &'static str,
    /// How long the answer took, an alarm included.
    pub took: Duration,
}

/// What is asked of a connection.
enum Check {
    /// Of one that must not publish.
    Echo(Echo),
    /// Of one that does.
    Canary(Canary),
}

/// The checks of one session.
pub(super) struct Liveness {
    consuming: Check,
    publishing: Check,
    control: Check,
    health: Health,
    beats: broadcast::Sender<Beat>,
}

impl Liveness {
    /// Opens a channel for each. `name` is what both the exchange and the queue for this are called.
    pub(super) async fn open(
        [consuming, publishing, control]: [&Connection; 3],
        name: &str,
        health: Health,
        beats: broadcast::Sender<Beat>,
    ) -> lapin::Result<Self> {
        Ok(Self {
            consuming: Check::Echo(Echo::open(consuming, name).await?),
            publishing: Check::Canary(Canary::open(publishing, name, health.clone()).await?),
            control: Check::Canary(Canary::open(control, name, health.clone()).await?),
            health,
            beats,
        })
    }

    /// Whether publishing works at all, once.
    pub(super) async fn first(&self) -> Result<(), String> {
        self.control.ask().await
    }

    /// Asks on the consuming connection, once. The answer comes after all that was written there before.
    pub(super) async fn reach_consuming(&self) -> Result<(), String> {
        self.consuming.ask().await
    }

    /// Asks until one does not answer, which ends the session.
    pub(super) async fn watch(&self) {
        let reason = tokio::select! {
            reason = self.repeat("consuming", &self.consuming) => reason,
            reason = self.repeat("publishing", &self.publishing) => reason,
            reason = self.repeat("control", &self.control) => reason,
        };
        self.health.fail(reason);
    }

    /// Asks now and then; which connection did not answer, and why.
    async fn repeat(&self, connection: &'static str, check: &Check) -> String {
        loop {
            tokio::time::sleep(EVERY).await;
            let asked = Instant::now();
            if let Err(reason) = check.ask().await {
                return format!("{connection} connection: {reason}");
            }
            // Nobody may care.
            let _ = self.beats.send(Beat { connection, took: asked.elapsed() });
        }
    }
}

impl Check {
    async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Echo(echo) => echo.ask().await,
            Self::Canary(canary) => canary.beat().await,
        }
    }
}
