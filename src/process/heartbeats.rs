//! A metric of the broker's response times to the liveness probes of its connections.

use broker::rabbitmq::ConnectionHeartbeat;
use service::metrics::Registry;
use tokio::sync::broadcast::{Receiver, error::RecvError};

const CONNECTIONS: [&str; 3] = ["consuming", "publishing", "control"];

service::metrics! {
    /// Metrics of every process about its connections to the broker.
    pub(crate) struct HeartbeatMetrics {
        /// How long the broker takes to answer a connection's liveness probe, sent every ten seconds: to confirm a publish (`publishing`, `control`), to answer a question (`consuming`).
        answered: HistogramVec("broker_heartbeat_seconds", [connection in CONNECTIONS],
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0]),
    }
}

pub(super) fn watch(mut heartbeats: Receiver<ConnectionHeartbeat>, registry: &Registry) -> anyhow::Result<()> {
    let metrics = HeartbeatMetrics::register(registry)?;
    tokio::spawn(async move {
        loop {
            match heartbeats.recv().await {
                Ok(ConnectionHeartbeat { connection, took }) => {
                    metrics.answered.with_label_values(&[connection]).observe(took.as_secs_f64());
                }
                // Missed heartbeats need no log line.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(())
}
