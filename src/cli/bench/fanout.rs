//! Events in over HTTP, each for 1, 10 or 100 endpoints: what a delivery costs should fall, since the event is accepted,
//! read and rendered once.

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
    /// Endpoints that get each event. Each number is measured, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100], value_parser = clap::value_parser!(u32).range(1..=1_000))]
    endpoints: Vec<u32>,
    /// Deliveries of each run. Its events are as many as make them.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    deliveries: u64,
    /// Connections that publish, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
}

#[derive(Serialize)]
struct Fanout {
    scenario: &'static str,
    broker: &'static str,
    endpoints: u32,
    events: u64,
    deliveries: u64,
    #[serde(flatten)]
    rates: Rates,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let [rate, cpu, load, lost, twice, refused] = Rates::HEADINGS;
    let headings = ["broker", "endpoints", "events", "deliveries", rate, cpu, load, lost, twice, refused];
    let (broker, mut exit) = (bench.broker_name(), Exit::Done);
    let mut results = Results::new(args.options.output, headings);
    for &endpoints in &args.endpoints {
        let events = args.deliveries.div_ceil(endpoints.into());
        progress("fanout", &format!("publishes {events} events for {endpoints} endpoints"));
        let run = HttpRun { events, endpoints, connections: args.connections, per_second: None };
        let Measured { deliveries, rates, .. } = run.measure(bench).await?;
        let figures = Fanout { scenario: "fanout", broker, endpoints, events, deliveries, rates };
        let [events, deliveries] = [events, deliveries].map(|count| whole(count as f64));
        let [rate, cpu, load, lost, twice, refused] = rates.cells();
        let endpoints = endpoints.to_string();
        let row = [broker.to_owned(), endpoints, events, deliveries, rate, cpu, load, lost, twice, refused];
        results.push(&figures, [row])?;
        if rates.counts.exit() != Exit::Done {
            exit = Exit::Failed;
        }
    }
    results.end()?;
    Ok(exit)
}
