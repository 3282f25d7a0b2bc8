//! Events in over HTTP at a steady rate that a standalone process bears with ease: how long does a delivery take?

use serde::Serialize;
use service::Exit;

use super::{
    Bench, Options,
    deliveries::Counts,
    http_run::{HttpRun, Measured, Rates},
    latencies::Latencies,
    progress,
    results::Results,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: Options,
    /// Events a second, each for one endpoint.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_second: u32,
    /// Seconds for which events are published.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Connections that publish, in turns.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
}

#[derive(Serialize)]
struct Latency {
    scenario: &'static str,
    broker: &'static str,
    events_per_second: u32,
    /// From the publish to the arrival at the receiver.
    #[serde(flatten)]
    latencies: Latencies,
    cpu_ms_per_1000_deliveries: f64,
    #[serde(flatten)]
    counts: Counts,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let Args { options, per_second, seconds, connections } = args;
    progress("latency", &format!("publishes {per_second} events a second for {seconds} s"));
    let events = u64::from(*per_second) * u64::from(*seconds);
    let run = HttpRun { events, endpoints: 1, connections: *connections, per_second: Some(*per_second) };
    let Measured { latencies, rates: Rates { cpu_ms_per_1000_deliveries, counts, .. }, .. } =
        run.measure(bench).await?;
    let broker = bench.broker_name();
    let headings =
        ["broker", "events/s", "p50 ms", "p99 ms", "longest ms", "CPU ms per 1,000", "lost", "twice", "refused"];
    let mut results = Results::new(options.output, headings);
    let figures = Latency {
        scenario: "latency",
        broker,
        events_per_second: *per_second,
        latencies,
        cpu_ms_per_1000_deliveries,
        counts,
    };
    let [p50, p99, max] = [latencies.p50_ms, latencies.p99_ms, latencies.max_ms].map(|ms| format!("{ms:.1}"));
    let [lost, duplicates, refused] = counts.cells();
    let (rate, cpu) = (per_second.to_string(), format!("{cpu_ms_per_1000_deliveries:.0}"));
    results.push(&figures, [[broker.to_owned(), rate, p50, p99, max, cpu, lost, duplicates, refused]])?;
    results.end()?;
    Ok(counts.exit())
}
