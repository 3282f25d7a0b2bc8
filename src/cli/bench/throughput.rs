//! Events in over HTTP as fast as one standalone process delivers them.

use serde::Serialize;
use service::Exit;

use super::{
    Bench, Options,
    deliveries::Counts,
    http_run::{HttpRun, Measured},
    progress,
    results::{Results, whole},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: Options,
    /// Number of events, each for one endpoint.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: u64,
    /// Connections that publish, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
}

#[derive(Serialize)]
struct Throughput {
    scenario: &'static str,
    broker: &'static str,
    events: u64,
    deliveries_per_second: f64,
    cpu_ms_per_1000_deliveries: f64,
    load_cpu_ms_per_1000_deliveries: f64,
    #[serde(flatten)]
    counts: Counts,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let Args { options, events, connections } = args;
    progress("throughput", &format!("publishes {events} events on {connections} connections"));
    let run = HttpRun { events: *events, endpoints: 1, connections: *connections, per_second: None };
    let Measured { per_second, cpu_ms_per_1000, load_cpu_ms_per_1000, counts, .. } = run.measure(bench).await?;
    let broker = bench.broker_name();
    let headings = ["broker", "events", "deliveries/s", "CPU ms per 1,000", "load's", "lost", "twice", "refused"];
    let mut results = Results::new(options.output, headings);
    let figures = Throughput {
        scenario: "throughput",
        broker,
        events: *events,
        deliveries_per_second: per_second,
        cpu_ms_per_1000_deliveries: cpu_ms_per_1000,
        load_cpu_ms_per_1000_deliveries: load_cpu_ms_per_1000,
        counts,
    };
    let [lost, duplicates, refused] = counts.cells();
    let (cpu, load) = (format!("{cpu_ms_per_1000:.0}"), format!("{load_cpu_ms_per_1000:.0}"));
    let row = [broker.to_owned(), whole(*events as f64), whole(per_second), cpu, load, lost, duplicates, refused];
    results.push(&figures, [row])?;
    results.end()?;
    Ok(counts.exit())
}
