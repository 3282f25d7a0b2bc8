//! Events in over HTTP as fast as one standalone process delivers them.

use serde::Serialize;
use service::Exit;

use super::{
    Bench, Options,
    http_run::{HttpRun, Measured, Rates},
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
    #[serde(flatten)]
    rates: Rates,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let Args { options, events, connections } = args;
    progress("throughput", &format!("publishes {events} events on {connections} connections"));
    let run = HttpRun { events: *events, endpoints: 1, connections: *connections, per_second: None };
    let Measured { rates, .. } = run.measure(bench).await?;
    let broker = bench.broker_name();
    let [rate, cpu, load, lost, twice, refused] = Rates::HEADINGS;
    let mut results = Results::new(options.output, ["broker", "events", rate, cpu, load, lost, twice, refused]);
    let figures = Throughput { scenario: "throughput", broker, events: *events, rates };
    let [rate, cpu, load, lost, twice, refused] = rates.cells();
    let row = [broker.to_owned(), whole(*events as f64), rate, cpu, load, lost, twice, refused];
    results.push(&figures, [row])?;
    results.end()?;
    Ok(rates.counts.exit())
}
