//! Writes the batches that processes record to history, in the order of the stream, each until it is written. What cannot be
//! read is noted as a gap.

use std::{sync::Arc, time::Duration};

use broker::{ReadError, rabbitmq::HistoryBatch};
use futures_util::{StreamExt as _, stream::BoxStream};
use history::{Batch, Gap, GapCause, History, HistoryError, SIGN_OF_LIFE, Written};
use schemas::time::millis;
use service::Clock;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::HistoryMetrics;

/// Pause after a failed write or read.
const RETRY: Duration = Duration::from_secs(1);
/// Time for which one process may write what the stream has, and time after which it is renewed.
const LEASE_TIME: Duration = Duration::from_secs(10);
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// Batches of this process that wait to be written, and are then written together: a transaction costs as much as many records.
const WRITTEN_TOGETHER: usize = 8;
/// Longest silence of a process that has not ended: several signs of life.
const SILENCE: Duration = Duration::from_secs(60);
/// What a process may have recorded after the last that it handed over, in milliseconds.
const LOST_MS: u64 = SIGN_OF_LIFE.as_millis() as u64 + 250;

/// Reads the stream from an offset on, and then whatever is appended.
pub type FollowHistory = Box<dyn Fn(u64) -> BoxStream<'static, Result<HistoryBatch, ReadError>> + Send + Sync>;

/// Where batches come from.
pub enum HistoryInput {
    /// The recorder of this process, the only one there is.
    Process { id: String, batches: mpsc::Receiver<Batch> },
    /// The stream of the broker.
    Stream(FollowHistory),
}

impl HistoryInput {
    /// What the recorder of this process hands over, and where it does so.
    pub fn of_process(id: String) -> (mpsc::Sender<Batch>, Self) {
        let (sender, batches) = mpsc::channel(WRITTEN_TOGETHER);
        (sender, Self::Process { id, batches })
    }
}

pub struct HistoryWriter {
    pub history: Arc<dyn History>,
    /// Id of this process, among those that may write.
    pub process: String,
    /// Age in milliseconds from which on records are not written any more.
    pub keep_ms: u64,
    pub clock: Clock,
    pub metrics: HistoryMetrics,
    pub stop: CancellationToken,
}

impl HistoryWriter {
    /// Writes until the input ends, or until it is stopped.
    pub async fn run(self, input: HistoryInput) {
        match input {
            HistoryInput::Process { id, batches } => self.write_all(&id, batches).await,
            HistoryInput::Stream(follow) => {
                tokio::select! {
                    () = self.follow(&follow) => {}
                    () = self.stop.cancelled() => {}
                }
                // Another one need not wait for its end.
                let _ = self.history.lease(&self.process, Duration::ZERO).await;
            }
        }
    }

    /// Writes what the recorder of this process hands over, until it ends. Every other process has ended by now: those that did
    /// not say so have left gaps.
    async fn write_all(&self, process: &str, mut batches: mpsc::Receiver<Batch>) {
        let closed = self.until_done(|| self.history.close_silent(u64::MAX, LOST_MS, process)).await;
        self.count_gaps(GapCause::UncleanEnd, closed);
        let mut waiting = Vec::new();
        while batches.recv_many(&mut waiting, WRITTEN_TOGETHER).await > 0 {
            let together = waiting.drain(..).reduce(|mut all, next| {
                all.append(next);
                all
            });
            self.write(together.unwrap_or_default(), None).await;
        }
    }

    /// Writes what the stream has while this process holds the lease.
    async fn follow(&self, follow: &FollowHistory) -> ! {
        let mut has_failed = false;
        loop {
            if !self.until_done(|| self.history.lease(&self.process, LEASE_TIME)).await {
                sleep(RETRY).await;
                continue;
            }
            let mut renewed_at = Instant::now();
            let position = self.until_done(|| self.history.position()).await;
            let mut batches = follow(position.map_or(0, |position| position + 1));
            loop {
                let next = timeout_at(renewed_at + RENEW_AFTER, batches.next()).await;
                if renewed_at.elapsed() >= RENEW_AFTER {
                    if !self.until_done(|| self.history.lease(&self.process, LEASE_TIME)).await {
                        break;
                    }
                    renewed_at = Instant::now();
                }
                let Ok(next) = next else { continue };
                let Some(batch) = next else { break };
                match batch {
                    Ok(batch) => {
                        has_failed = false;
                        self.write_from_stream(batch).await;
                    }
                    Err(error) if !has_failed => {
                        has_failed = true;
                        tracing::warn!(%error, "history.unreadable");
                    }
                    Err(_) => {}
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn write_from_stream(&self, HistoryBatch { offset, follows_a_loss, bytes }: HistoryBatch) {
        let now = (self.clock)();
        let batch = Batch::decode(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, offset, "history.batch_unreadable");
            let gap = Gap { from: now, until: now, dropped: 0, cause: GapCause::Unreadable };
            Batch { gaps: vec![gap], ..Batch::default() }
        });
        let covers_until = batch.covers_until;
        if follows_a_loss {
            let from = self.until_done(|| self.history.coverage(0, 0)).await.covered_until;
            let until = if covers_until > 0 { covers_until } else { now };
            let gap = Gap { from: from.unwrap_or(until).min(until), until, dropped: 0, cause: GapCause::StreamTrimmed };
            tracing::warn!(offset, "history.stream_trimmed");
            self.until_done(|| self.history.note_gap(gap.clone())).await;
            self.count_gaps(GapCause::StreamTrimmed, 1);
        }
        self.write(batch, Some(offset)).await;
        // Compared with the newest batch and not with the clock: after an outage of control all batches are old.
        let silent_since = covers_until.saturating_sub(millis(SILENCE));
        if silent_since > 0 {
            let closed = self.until_done(|| self.history.close_silent(silent_since, LOST_MS, "")).await;
            self.count_gaps(GapCause::UncleanEnd, closed);
        }
    }

    /// Writes one batch, however long that takes. A batch is written again as it is, which changes nothing that was written.
    async fn write(&self, batch: Batch, position: Option<u64>) {
        let covers_until = batch.covers_until;
        for gap in &batch.gaps {
            self.count_gaps(gap.cause, 1);
        }
        let oldest = || (self.clock)().saturating_sub(self.keep_ms);
        let written = self.until_done(|| self.history.write(batch.clone(), position, oldest())).await;
        let Written { records, repeated, too_old, over_share } = written;
        let counts = [("written", records), ("repeated", repeated), ("too_old", too_old), ("over_share", over_share)];
        for (result, count) in counts {
            self.metrics.written.with_label_values(&[result]).inc_by(count);
        }
        if covers_until > 0 {
            self.metrics.lag.set((self.clock)().saturating_sub(covers_until) as f64 / 1_000.0);
        }
    }

    fn count_gaps(&self, cause: GapCause, count: u64) {
        self.metrics.gaps.with_label_values(&[cause.as_str()]).inc_by(count);
    }

    /// Repeats a call until history answers. An outage is logged once.
    async fn until_done<T, F: Future<Output = Result<T, HistoryError>>>(&self, call: impl Fn() -> F) -> T {
        let mut has_failed = false;
        loop {
            match call().await {
                Ok(done) => {
                    if has_failed {
                        tracing::info!("history.back");
                    }
                    return done;
                }
                Err(error) => {
                    self.metrics.failed_writes.inc();
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "history.away");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }
}
