//! Takes records from the roles of a process, and hands them over in batches. Nothing waits for it: when records come faster
//! than they are taken, the newest are dropped, and the gap is part of the next batch.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use service::Clock;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Batch, Gap, GapCause, Record, RecorderMetrics};

/// Longest time that a record waits for others of its batch.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// Bytes of a batch that goes at once.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of records that wait at most (32 MiB). Beyond them records are dropped.
const MAX_WAITING: usize = 32 << 20;
/// Interval at which a process without records says that there are none. What dies within it leaves a gap of that length.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// Longest wait for the last batch of a process that ends.
const LAST_BATCH: Duration = Duration::from_secs(5);

/// Where batches go: the stream of the broker, or the writer in the same process.
pub trait RecordSink: Send + Sync {
    /// Hands over a batch, and tries again until that has succeeded, or never can.
    fn hand_over(&self, batch: Batch) -> BoxFuture<'_, ()>;
}

/// Takes records. Clones are the same recorder.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<Waiting>>);

struct Waiting {
    queue: Mutex<RecordQueue>,
    /// Notified by the first record of a batch, and when a batch is full.
    news: Notify,
    clock: Clock,
    metrics: RecorderMetrics,
}

#[derive(Default)]
struct RecordQueue {
    records: Vec<Record>,
    bytes: usize,
    gap: Option<Gap>,
}

impl Recorder {
    /// A recorder that records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// A recorder, and the task that hands over what it records for the process of this id.
    pub fn new(
        process: String,
        sink: Box<dyn RecordSink>,
        clock: Clock,
        metrics: RecorderMetrics,
        stop: CancellationToken,
    ) -> (Self, RecorderTask) {
        let waiting = Arc::new(Waiting { queue: Mutex::default(), news: Notify::new(), clock, metrics });
        (Self(Some(waiting.clone())), RecorderTask { process, waiting, sink, stop })
    }

    /// Records what `make` makes, which is not called where nothing is recorded.
    pub fn record(&self, make: impl FnOnce() -> Record) {
        let Some(waiting) = &self.0 else { return };
        let record = make();
        let mut queue = waiting.queue();
        if queue.bytes >= MAX_WAITING {
            let now = (waiting.clock)();
            let gap = queue.gap.get_or_insert(Gap { from: now, until: now, dropped: 0, cause: GapCause::Overflow });
            (gap.until, gap.dropped) = (now.max(gap.from), gap.dropped + 1);
            waiting.metrics.records.with_label_values(&["dropped"]).inc();
            return;
        }
        let was_full = queue.bytes >= BATCH_BYTES;
        queue.bytes += record.size();
        let is_first = queue.records.is_empty();
        queue.records.push(record);
        if is_first || (!was_full && queue.bytes >= BATCH_BYTES) {
            drop(queue);
            waiting.news.notify_one();
        }
    }
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, RecordQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a batch may hold of the records that wait.
    fn take(&self, process: &str) -> Batch {
        let mut queue = self.queue();
        let mut bytes = 0;
        let fitting = queue.records.iter().take_while(|record| {
            let fits = bytes < BATCH_BYTES;
            bytes += record.size();
            fits
        });
        let count = fitting.count();
        let rest = queue.records.split_off(count);
        let records = std::mem::replace(&mut queue.records, rest);
        queue.bytes = queue.bytes.saturating_sub(records.iter().map(Record::size).sum());
        // What waits behind a full batch began at the latest with its first record.
        let rest_began = queue.records.iter().map(recorded_from).min();
        let covers_until = rest_began.unwrap_or(u64::MAX).min((self.clock)());
        let gaps = if queue.records.is_empty() { queue.gap.take().into_iter().collect() } else { Vec::new() };
        self.metrics.records.with_label_values(&["recorded"]).inc_by(records.len() as u64);
        Batch { process: process.to_owned(), covers_until, ends: false, gaps, records }
    }
}

/// Unix milliseconds of what a record tells.
fn recorded_from(record: &Record) -> u64 {
    match record {
        Record::Event(event) => event.accepted_at,
        Record::Attempt(attempt) => attempt.at,
        Record::Run(run) => run.delivery.run_began,
    }
}

/// Hands over the records of a process.
pub struct RecorderTask {
    process: String,
    waiting: Arc<Waiting>,
    sink: Box<dyn RecordSink>,
    stop: CancellationToken,
}

impl RecorderTask {
    /// Runs until it is stopped, and then hands over what waits, for five seconds at most. The first batch is empty: it says
    /// that the process has begun.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = self.hand_over(false) => {}
                () = self.stop.cancelled() => break,
            }
            tokio::select! {
                () = self.wait() => {}
                () = self.stop.cancelled() => break,
            }
        }
        let rest = async {
            while !self.waiting.queue().records.is_empty() {
                self.hand_over(false).await;
            }
            self.hand_over(true).await;
        };
        if timeout(LAST_BATCH, rest).await.is_err() {
            tracing::warn!("history.not_handed_over");
        }
    }

    async fn hand_over(&self, ends: bool) {
        let batch = Batch { ends, ..self.waiting.take(&self.process) };
        self.sink.hand_over(batch).await;
    }

    /// Waits for a batch: until it is full, or its first record has waited for long, or there is nothing to record for long.
    async fn wait(&self) {
        let silent_until = Instant::now() + SIGN_OF_LIFE;
        while self.waiting.queue().records.is_empty() {
            if timeout_at(silent_until, self.waiting.news.notified()).await.is_err() {
                return;
            }
        }
        let full_until = Instant::now() + BATCH_TIME;
        while self.waiting.queue().bytes < BATCH_BYTES {
            if timeout_at(full_until, self.waiting.news.notified()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;
    use schemas::{EventId, EventType};
    use service::metrics::Registry;
    use tokio::sync::mpsc;

    use super::*;
    use crate::EventRecord;

    /// A sink that takes one batch at a time, whenever the test does.
    struct Taken(mpsc::Sender<Batch>);

    impl RecordSink for Taken {
        fn hand_over(&self, batch: Batch) -> BoxFuture<'_, ()> {
            async {
                let _ = self.0.send(batch).await;
            }
            .boxed()
        }
    }

    struct Recording {
        recorder: Recorder,
        batches: mpsc::Receiver<Batch>,
        stop: CancellationToken,
        now: Arc<AtomicU64>,
    }

    impl Recording {
        fn start() -> Self {
            let (taken, batches) = mpsc::channel(1);
            let (stop, now) = (CancellationToken::new(), Arc::new(AtomicU64::new(1_000)));
            let metrics = RecorderMetrics::register(&Registry::default()).expect("new metrics");
            let at = now.clone();
            let clock: Clock = Arc::new(move || at.load(Ordering::Relaxed));
            let (recorder, task) = Recorder::new("p1".into(), Box::new(Taken(taken)), clock, metrics, stop.clone());
            tokio::spawn(task.run());
            Self { recorder, batches, stop, now }
        }

        fn record(&self, id: &str, bytes: usize) {
            self.recorder.record(|| event(id, bytes));
        }

        async fn next(&mut self) -> Batch {
            self.batches.recv().await.expect("it goes on")
        }
    }

    fn event(id: &str, bytes: usize) -> Record {
        Record::Event(Box::new(EventRecord {
            tenant: "acme".into(),
            id: EventId::try_from(id.to_owned()).expect("an id"),
            event_type: EventType::TICKET_CREATED,
            source: "custom".into(),
            accepted_at: 1_000,
            occurred_at: 1_000,
            channel_id: None,
            queue_id: None,
            ticket_id: None,
            protocol: None,
            contact: None,
            deliveries: Vec::new(),
            unmatched: Vec::new(),
            bodies: vec![vec![b'x'; bytes].into()],
        }))
    }

    fn ids(batch: &Batch) -> Vec<&str> {
        let id = |record: &'_ Record| match record {
            Record::Event(event) => event.id.as_str().to_owned().leak() as &str,
            Record::Attempt(_) | Record::Run(_) => "",
        };
        batch.records.iter().map(id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_a_quarter_of_a_second_are_one_batch() {
        let mut recording = Recording::start();
        assert_eq!(recording.next().await.records, [], "the process begins");
        let began = Instant::now();
        recording.record("e1", 10);
        recording.record("e2", 10);
        assert_eq!(ids(&recording.next().await), ["e1", "e2"]);
        assert_eq!(began.elapsed(), BATCH_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_goes_at_once_and_a_larger_body_alone() {
        let mut recording = Recording::start();
        recording.next().await;
        let began = Instant::now();
        recording.record("e1", 10);
        recording.record("e2", 2 * BATCH_BYTES);
        recording.record("e3", 10);
        assert_eq!(ids(&recording.next().await), ["e1", "e2"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(ids(&recording.next().await), ["e3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_process_gives_signs_of_life_and_its_last_batch_says_that_it_ends() {
        let mut recording = Recording::start();
        recording.next().await;
        let began = Instant::now();
        let sign = recording.next().await;
        assert_eq!((sign.records.len(), sign.ends, began.elapsed()), (0, false, SIGN_OF_LIFE));
        recording.record("e1", 10);
        recording.stop.cancel();
        let (last, end) = (recording.next().await, recording.next().await);
        assert_eq!((ids(&last), last.ends, end.ends), (vec!["e1"], false, true));
        assert_eq!(recording.batches.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_nobody_takes_are_dropped_and_counted_with_their_time() {
        let mut recording = Recording::start();
        for at in 0..40 {
            recording.now.store(1_000 + at, Ordering::Relaxed);
            recording.record(&format!("e{at}"), BATCH_BYTES);
        }
        let mut taken = Vec::new();
        let mut gaps = Vec::new();
        while gaps.is_empty() {
            let batch = recording.next().await;
            taken.extend(batch.records);
            gaps = batch.gaps;
        }
        let dropped = 40 - taken.len() as u64;
        let expected = Gap { from: 1_040 - dropped, until: 1_039, dropped, cause: GapCause::Overflow };
        assert!(dropped > 0);
        assert_eq!(gaps, [expected]);
        recording.record("later", 10);
        assert_eq!(ids(&recording.next().await), ["later"], "it goes on");
    }

    #[test]
    fn a_batch_comes_back_as_it_was() {
        let gaps = vec![Gap { from: 1, until: 2, dropped: 3, cause: GapCause::UncleanEnd }];
        let records = vec![event("e1", 100), event("e2", 0)];
        let batch = Batch { process: "p1".into(), covers_until: 7, ends: true, gaps, records };
        assert_eq!(Batch::decode(&batch.encode()).expect("it can be read"), batch);
        assert!(
            Batch::decode(b"").is_err()
                && Batch::decode(&[9, 1, 2]).is_err()
                && Batch::decode(&[1, 255, 255, 255, 255, 0]).is_err()
        );
    }
}
