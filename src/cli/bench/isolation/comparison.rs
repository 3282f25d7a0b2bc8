//! A comparison of two phases in one process: healthy tenants by themselves, and beside a disturbance.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Args, Bench, Findings, progress,
    steady_load::{FirstAttempts, SteadyLoad},
    system::System,
};
use crate::cli::{
    bench::latencies::{Latencies, median},
    client::Client,
};

/// Part of a phase's duration for which it runs before it is measured: connections are opened.
pub(super) const WARM_UP: f64 = 0.25;

/// What other tenants do beside the healthy ones.
pub(super) trait Disturbance: Sized {
    const LIMIT: Limit = Limit { ratio: 1.5, p99_ms: 50.0 };
    /// True if the disturbance itself has a warm-up, as breakers must have seen it. Otherwise its begin is measured, too.
    const WARMS_UP: bool = false;

    /// Starts what the disturbing tenants need, such as receivers.
    async fn start(args: &Args) -> anyhow::Result<Self>;

    /// The disturbing tenants.
    fn tenants(&self) -> Vec<Value>;

    /// Settings of the process.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The host in the URL of a healthy tenant.
    fn healthy_host(&self, _nth: u32) -> String {
        "127.0.0.1".to_owned()
    }

    /// Publishes what disturbs. Ends when all is published, or never.
    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()>;
}

/// What a disturbance may do to the healthy tenants' p99.
pub(super) struct Limit {
    /// Highest ratio of the p99 with the disturbance to the p99 without.
    pub(super) ratio: f64,
    /// The p99 with the disturbance, in milliseconds, up to which any ratio passes.
    pub(super) p99_ms: f64,
}

impl Limit {
    fn allows(&self, ratio: f64, p99_ms: f64) -> bool {
        ratio <= self.ratio || p99_ms <= self.p99_ms
    }
}

/// First attempts of the healthy tenants in two phases.
#[derive(Debug, Serialize)]
pub(super) struct Phases {
    pub(super) without: FirstAttempts,
    pub(super) with: FirstAttempts,
    /// The p99 of `with`, divided by that of `without`.
    pub(super) ratio: f64,
}

impl Phases {
    pub(super) fn new(without: FirstAttempts, with: FirstAttempts) -> Self {
        Self { ratio: with.latencies.p99_ms / without.latencies.p99_ms, without, with }
    }

    /// True if every event was accepted and has arrived.
    fn are_complete(&self) -> bool {
        [self.without, self.with].iter().all(|phase| phase.missing == 0 && phase.refused == 0)
    }

    /// True if nothing is missing, and the second phase is as fast as `limit` demands.
    pub(super) fn pass(&self, limit: &Limit) -> bool {
        self.are_complete() && limit.allows(self.ratio, self.with.latencies.p99_ms)
    }

    pub(super) fn lines(&self, without: &str, with: &str) -> Vec<String> {
        let line = |name: &str, phase: &FirstAttempts| {
            let FirstAttempts { latencies: Latencies { count, p50_ms, p99_ms, max_ms, .. }, missing, refused } = phase;
            format!(
                "{name}: {count} first attempts, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, longest {max_ms:.1} ms, \
                 {missing} missing, {refused} refused"
            )
        };
        vec![line(without, &self.without), line(with, &self.with), format!("ratio of p99: {:.2}", self.ratio)]
    }
}

/// Measures the healthy tenants without and with a disturbance, in several rounds.
pub(super) async fn run<D: Disturbance>(bench: &Bench<'_>, scenario: &str) -> anyhow::Result<Findings> {
    let mut rounds = Vec::new();
    for nth in 1..=bench.args.rounds {
        let seconds = 2.0 * f64::from(bench.args.seconds) * (1.0 + WARM_UP);
        let what = format!("measures without the disturbance and then with it, for about {seconds:.0} s");
        progress(scenario, &format!("round {nth} of {}: {what}", bench.args.rounds));
        let round = round::<D>(bench).await?;
        progress(scenario, &format!("round {nth}: {}", round.lines("without", "with").join("; ")));
        rounds.push(round);
    }
    let ratio = median(rounds.iter().map(|round| round.ratio).collect());
    let p99_ms = median(rounds.iter().map(|round| round.with.latencies.p99_ms).collect());
    let passed = D::LIMIT.allows(ratio, p99_ms) && rounds.iter().all(Phases::are_complete);
    let mut lines: Vec<_> = rounds.iter().flat_map(|round| round.lines("without", "with")).collect();
    let Limit { ratio: most, p99_ms: any } = D::LIMIT;
    lines.push(format!("median: {ratio:.2} times the p99 without, {p99_ms:.1} ms (at most {most} times, or {any} ms)"));
    Ok(Findings { passed, figures: json!({"rounds": rounds, "ratio": ratio, "p99_ms": p99_ms}), lines })
}

async fn round<D: Disturbance>(bench: &Bench<'_>) -> anyhow::Result<Phases> {
    let healthy = SteadyLoad::start(bench.args).await?;
    let disturbance = D::start(bench.args).await?;
    let mut tenants = healthy.tenants(|nth| disturbance.healthy_host(nth));
    tenants.extend(disturbance.tenants());
    let system = System::start(bench, &tenants, &disturbance.settings()).await?;
    let client = &system.client;
    let measured = Duration::from_secs(bench.args.seconds.into());
    let warm_up = measured.mul_f64(WARM_UP);
    let measure = async |is_warm: bool| {
        if !is_warm {
            healthy.measure(client, sleep(warm_up)).await;
        }
        healthy.measure(client, sleep(measured)).await
    };
    let without = measure(false).await;
    let with = tokio::select! {
        with = measure(!D::WARMS_UP) => with,
        error = failure(disturbance.disturb(client)) => return Err(error),
    };
    // Requests that hang would delay the end of the process, so their receiver ends first.
    drop(disturbance);
    system.end().await?;
    Ok(Phases::new(without, with))
}

/// Waits for the failure of a disturbance. Its success is not awaited by anyone.
async fn failure(disturbance: impl Future<Output = anyhow::Result<()>>) -> anyhow::Error {
    match disturbance.await {
        Ok(()) => match pending::<Infallible>().await {},
        Err(error) => error,
    }
}
