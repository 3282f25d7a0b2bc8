//! A receiver answers 503 for some minutes, and then is healthy again. How soon does nothing wait for it, and do healthy
//! tenants notice?

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Bench, Findings,
    arrivals::Arrivals,
    comparison::{Limit, Phases, WARM_UP},
    progress,
    steady_load::SteadyLoad,
    system::System,
    tenant::{BatchPublisher, receiver, tenant},
};
use crate::receiver::{Answer, Received};

const TENANT: &str = "away";
const ANSWER_TIME: Duration = Duration::from_millis(20);
const LIMIT: Limit = Limit { ratio: 1.5, p99_ms: 50.0 };
/// Highest passing number of deferrals for each delivery.
const MOST_DEFERRALS: f64 = 5.0;
/// Time in which nothing waits any more: this much, and as long as the outage was.
const RECOVERY: Duration = Duration::from_secs(60);
/// Longest time until a breaker lets a request through.
const LONGEST_BREAK: Duration = Duration::from_secs(130);

/// What the process does during the outage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    StaysUp,
    /// It then knows nothing of the endpoint but that it does not answer.
    IsRestarted,
}

#[derive(Debug, Serialize)]
struct Outage {
    /// Deliveries that waited when the receiver was back.
    waiting: usize,
    /// Seconds from then until the first answer with 200; none if there was none.
    first_answer_seconds: Option<f64>,
    /// Seconds from the first answer until nothing waited; none if something still did in the end.
    recovered_seconds: Option<f64>,
    /// Deliveries that still waited in the end.
    left: usize,
    deferrals_per_delivery: f64,
    /// Healthy tenants: before the outage, and from its end until nothing waited.
    healthy: Phases,
}

pub(super) async fn run(bench: &Bench<'_>, scenario: &str, process: Process) -> anyhow::Result<Findings> {
    let args = bench.args;
    let receiver = AwayReceiver::start().await?;
    let healthy = SteadyLoad::start(args).await?;
    let mut tenants = healthy.tenants(|_| "127.0.0.1".to_owned());
    let published = args.away.0.as_secs_f64() * f64::from(args.away_per_second);
    tenants.push(receiver.tenant(2 * published.ceil() as u64));
    let system = System::start(bench, &tenants, &[]).await?;
    let publisher = BatchPublisher::new(TENANT, args.away_per_second, receiver.arrivals.clone());
    let publish = async |system: &System<'_>, duration| publisher.run(&system.client, sleep(duration)).await;
    let both = async |duration| {
        let (first_attempts, ()) =
            tokio::join!(healthy.measure(&system.client, sleep(duration)), publish(&system, duration));
        first_attempts
    };
    let phase = Duration::from_secs(args.seconds.into());
    both(phase.mul_f64(WARM_UP)).await;
    let before = both(phase).await;

    progress(scenario, "the receiver is away");
    receiver.is_away.store(true, Relaxed);
    let (system, earlier_deferrals) = match process {
        Process::StaysUp => {
            publish(&system, args.away.0).await;
            (system, 0.0)
        }
        Process::IsRestarted => {
            publish(&system, args.away.0 / 2).await;
            let deferrals = deferrals(&system).await?;
            let system = system.restart().await?;
            progress(scenario, "the process was restarted");
            publish(&system, args.away.0 / 2).await;
            (system, deferrals)
        }
    };

    let waiting = receiver.arrivals.awaited();
    progress(scenario, &format!("the receiver is back, {waiting} deliveries wait"));
    let back = Instant::now();
    receiver.is_away.store(false, Relaxed);
    let mut took = Duration::ZERO;
    let recovery = async {
        receiver.arrivals.all(LONGEST_BREAK + RECOVERY + args.away.0).await;
        took = back.elapsed();
        // A phase that is too short has no p99.
        sleep(phase.saturating_sub(took)).await;
    };
    let meanwhile = healthy.measure(&system.client, recovery).await;
    let (_, left) = receiver.arrivals.take();
    let first = receiver.first_answer.get().map(|first| first.saturating_duration_since(back));
    let recovered = first.filter(|_| left == 0).map(|first| took.saturating_sub(first));
    let deferrals = earlier_deferrals + deferrals(&system).await?;
    system.end().await?;

    let outage = Outage {
        waiting,
        first_answer_seconds: first.map(|first| first.as_secs_f64()),
        recovered_seconds: recovered.map(|recovered| recovered.as_secs_f64()),
        left,
        deferrals_per_delivery: deferrals / waiting.max(1) as f64,
        healthy: Phases::new(before, meanwhile),
    };
    let in_time = recovered.is_some_and(|recovered| recovered <= RECOVERY + args.away.0);
    Ok(Findings {
        passed: in_time && outage.deferrals_per_delivery <= MOST_DEFERRALS && outage.healthy.pass(&LIMIT),
        figures: json!(outage),
        lines: outage.lines(),
    })
}

async fn deferrals(system: &System<'_>) -> anyhow::Result<f64> {
    system.counter("carteiro_deferrals_total").await
}

impl Outage {
    fn lines(&self) -> Vec<String> {
        let seconds = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s"));
        let mut lines = vec![format!(
            "{} deliveries waited, first answer after {}, nothing waited after another {} ({} left), {:.2} deferrals for each",
            self.waiting,
            seconds(self.first_answer_seconds),
            seconds(self.recovered_seconds),
            self.left,
            self.deferrals_per_delivery
        )];
        lines.extend(self.healthy.lines("healthy tenants before", "healthy tenants after"));
        lines
    }
}

/// The receiver that can be away.
struct AwayReceiver {
    receiver: crate::receiver::Receiver,
    is_away: Arc<AtomicBool>,
    /// Deliveries that it answered 200.
    arrivals: Arc<Arrivals>,
    /// When it answered 200 for the first time after it was away.
    first_answer: Arc<OnceLock<Instant>>,
}

impl AwayReceiver {
    async fn start() -> anyhow::Result<Self> {
        let (is_away, arrivals, first_answer) =
            (Arc::new(AtomicBool::new(false)), Arc::<Arrivals>::default(), Arc::new(OnceLock::new()));
        let was_away = AtomicBool::new(false);
        let (away, noted, first) = (is_away.clone(), arrivals.clone(), first_answer.clone());
        let script = move |received: &Received| {
            if away.load(Relaxed) {
                was_away.store(true, Relaxed);
                return Answer::Status(503, ANSWER_TIME);
            }
            if was_away.load(Relaxed) {
                first.get_or_init(|| received.at);
            }
            noted.arrived(received.header("webhook-id"), received.at);
            Answer::Status(200, ANSWER_TIME)
        };
        Ok(Self { receiver: receiver(script).await?, is_away, arrivals, first_answer })
    }

    fn tenant(&self, max_backlog: u64) -> serde_json::Value {
        tenant(TENANT, &[json!({"id": "e", "url": self.receiver.url("/"), "max_backlog": max_backlog})])
    }
}
