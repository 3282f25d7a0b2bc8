//! The clock of the machine, set while the broker runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use broker::{Log, Target};
use tempfile::TempDir;

use super::open;
use crate::story::{message, publish, read};

const DAY: u64 = 86_400_000;

#[tokio::test]
async fn no_record_is_deleted_because_the_clock_was_set_forward_until_it_was_set_right() {
    let (folder, now) = (TempDir::new().expect("a folder"), Arc::new(AtomicU64::new(1_790_000_000_000)));
    let shown = now.clone();
    let broker = open(folder.path(), &(Arc::new(move || shown.load(Relaxed)) as service::Clock));
    let logs = [(Log::Dead, "exhausted.acme"), (Log::Parked, "schema.acme")];
    // Each publish is a transaction that also deletes what is too old.
    for (nth, step) in (0..).zip([0, 40 * DAY as i64, -40 * DAY as i64]) {
        now.store(now.load(Relaxed).saturating_add_signed(step), Relaxed);
        for (log, key) in logs {
            publish(&*broker, &Target::Log(log, key.into()), &message(nth)).await;
        }
    }
    for (log, _) in logs {
        let kept: Vec<_> = read(&*broker, log, 0).await.into_iter().map(|record| record.message).collect();
        assert_eq!(kept, [message(0), message(1), message(2)], "{log:?}");
    }
}
