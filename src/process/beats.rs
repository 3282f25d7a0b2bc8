//! How quickly the broker answers its connections' signs of life.

use broker::rabbitmq::Beat;
use service::metrics::Registry;
use tokio::sync::broadcast::{Receiver, error::RecvError};

const CONNECTIONS: [&str; 3] = ["consuming", "publishing", "control"];

service::metrics! {
    /// What every process says of its connections.
    pub(crate) struct BeatMetrics {
        /// How long the broker takes to answer a connection's sign of life, sent every ten seconds: to confirm a publish (`publishing`, `control`), to answer a question (`consuming`).
        answered: HistogramVec("broker_canary_seconds", [connection in CONNECTIONS],
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0]),
    }
}

/// Counts them for as long as the broker is open.
pub(super) fn watch(mut beats: Receiver<Beat>, registry: &Registry) -> anyhow::Result<()> {
    let metrics = BeatMetrics::register(registry)?;
    tokio::spawn(async move {
        loop {
            match beats.recv().await {
                Ok(Beat { connection, took }) => {
                    metrics.answered.with_label_values(&[connection]).observe(took.as_secs_f64());
                }
                // Those that were missed are not worth a word.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(())
}
