//! Events in over HTTP, each for 1, 10 or 100 endpoints: what a delivery costs should fall, since the event is accepted,
//! read and rendered once.

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
    deliveries_per_second: f64,
    cpu_ms_per_1000_deliveries: f64,
    load_cpu_ms_per_1000_deliveries: f64,
    #[serde(flatten)]
    counts: Counts,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let headings = [
        "broker",
        "endpoints",
        "events",
        "deliveries",
        "deliveries/s",
        "CPU ms per 1,000",
        "load's",
        "lost",
        "twice",
        "refused",
    ];
    let (broker, mut exit) = (bench.broker_name(), Exit::Done);
    let mut results = Results::new(args.options.output, headings);
    for &endpoints in &args.endpoints {
        let events = args.deliveries.div_ceil(endpoints.into());
        progress("fanout", &format!("publishes {events} events for {endpoints} endpoints"));
        let run = HttpRun { events, endpoints, connections: args.connections, per_second: None };
        let Measured { deliveries, per_second, cpu_ms_per_1000, load_cpu_ms_per_1000, counts, .. } =
            run.measure(bench).await?;
        let figures = Fanout {
            scenario: "fanout",
            broker,
            endpoints,
            events,
            deliveries,
            deliveries_per_second: per_second,
            cpu_ms_per_1000_deliveries: cpu_ms_per_1000,
            load_cpu_ms_per_1000_deliveries: load_cpu_ms_per_1000,
            counts,
        };
        let [lost, duplicates, refused] = counts.cells();
        let row = [
            broker.to_owned(),
            endpoints.to_string(),
            whole(events as f64),
            whole(deliveries as f64),
            whole(per_second),
            format!("{cpu_ms_per_1000:.0}"),
            format!("{load_cpu_ms_per_1000:.0}"),
            lost,
            duplicates,
            refused,
        ];
        results.push(&figures, [row])?;
        if counts.exit() != Exit::Done {
            exit = Exit::Failed;
        }
    }
    results.end()?;
    Ok(exit)
}
