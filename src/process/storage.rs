//! How full the embedded broker is, for `/readyz` and the metrics.

use broker::sqlite::StorageState;
use service::{
    metrics::{InvalidMetric, Registry},
    ops::Ops,
};
use tokio::sync::watch;

service::metrics! {
    /// Metrics of the embedded broker's file.
    pub(crate) struct StorageMetrics {
        /// 1 while the embedded broker takes in no events, because its disk or `broker.max_bytes` leaves no room for them.
        full: IntGauge("broker_storage_full"),
        /// Bytes that the embedded broker can still write, the disk's reserve included; 0 with RabbitMQ.
        free: IntGauge("broker_storage_free_bytes"),
        /// Bytes in use within the embedded broker's file: all that waits, and the logs; 0 with RabbitMQ.
        used: IntGauge("broker_storage_used_bytes"),
    }
}

/// A process whose broker is full stays ready, since it delivers and its API answers; `/readyz` says so.
pub(super) fn watch(
    ops: &Ops,
    mut storage: watch::Receiver<StorageState>,
    registry: &Registry,
) -> Result<(), InvalidMetric> {
    let metrics = StorageMetrics::register(registry)?;
    let state = storage.clone();
    ops.degraded("broker", move || match &state.borrow().full {
        Some(why) => Err(format!("takes in no events: {why}")),
        None => Ok(()),
    });
    tokio::spawn(async move {
        loop {
            metrics.note(&storage.borrow_and_update());
            // The broker has ended.
            if storage.changed().await.is_err() {
                break;
            }
        }
    });
    Ok(())
}

impl StorageMetrics {
    fn note(&self, state: &StorageState) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.full.set(i64::from(state.full.is_some()));
        self.free.set(bytes(state.free_bytes));
        self.used.set(bytes(state.used_bytes));
    }
}
