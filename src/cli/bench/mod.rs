//! `carteiro bench`: measures this build on this machine. `isolation` compares tenants in one process; the others start this
//! binary again, and measure it from outside.

mod backlog;
mod connection;
mod deliveries;
mod fanout;
mod history;
mod http_run;
mod isolation;
mod latencies;
mod latency;
mod load;
mod metrics_page;
mod processes;
mod receiver;
mod results;
mod scale;
mod throughput;
mod usage;

use anyhow::Context as _;
use service::Exit;

use self::results::Format;
use super::setup::Setup;

const LOG_LEVEL: (&str, &str) = ("telemetry.level", "error");

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, clap::Subcommand)]
enum Measurement {
    /// How many deliveries a second, from HTTP to HTTP, and what CPU time does each take?
    Throughput(throughput::Args),
    /// How long does a delivery take at a steady rate that is no load?
    Latency(latency::Args),
    /// Does a delivery cost less when an event has many?
    Fanout(fanout::Args),
    /// Do memory and rate stay the same while very much waits, and while it drains?
    Backlog(backlog::Args),
    /// Do more deliverers deliver more? Only on a RabbitMQ, where several processes can share a broker.
    Scale(scale::Args),
    /// What does writing history cost, and how long does it take to find something in it?
    History(history::Args),
    /// How much slower are deliveries of healthy tenants beside tenants that disturb?
    Isolation(isolation::Args),
}

/// The options of all measurements that start processes.
#[derive(Debug, clap::Args)]
struct Options {
    /// Use this RabbitMQ, with a prefix and an exchange of its own, instead of the embedded broker.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// How to print the results: for people (table), as JSON objects, or as a table in Markdown.
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// What a measurement needs to start processes.
struct Bench<'a> {
    setup: &'a Setup,
    broker: Option<&'a str>,
    /// Prefix and exchange on a RabbitMQ.
    name: String,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.measurement {
        Measurement::Throughput(args) => {
            measure(setup, &args.options, async |bench| throughput::run(bench, &args).await).await
        }
        Measurement::Latency(args) => {
            measure(setup, &args.options, async |bench| latency::run(bench, &args).await).await
        }
        Measurement::Fanout(args) => measure(setup, &args.options, async |bench| fanout::run(bench, &args).await).await,
        Measurement::Backlog(args) => {
            measure(setup, &args.options, async |bench| backlog::run(bench, &args).await).await
        }
        Measurement::Scale(args) => measure(setup, &args.options, async |bench| scale::run(bench, &args).await).await,
        Measurement::History(args) => history::run(setup, &args).await,
        Measurement::Isolation(args) => isolation::run(setup, args).await,
    }
}

/// Measures until the end or a signal. Nothing stays on a RabbitMQ, however that ends.
async fn measure(
    setup: &Setup,
    options: &Options,
    measurement: impl AsyncFnOnce(&Bench<'_>) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    setup.start_logging(&setup.load(&[LOG_LEVEL])?.config, &[])?;
    let name = format!("carteiro-bench-{}", &service::chance::token()?[..8]);
    let bench = Bench { setup, broker: options.broker.as_deref(), name };
    let shutdown = service::shutdown::on_signals()?;
    let measured = tokio::select! {
        measured = measurement(&bench) => measured,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("stopped before the end")),
    };
    if measured.is_err() {
        bench.remove_names().await?;
    }
    measured
}

impl Bench<'_> {
    fn broker_name(&self) -> &'static str {
        if self.broker.is_some() { "rabbitmq" } else { "embedded" }
    }

    /// Settings of the names on a RabbitMQ; none on the embedded broker.
    fn names(&self) -> Vec<(&str, &str)> {
        let keys: &[&str] = if self.broker.is_some() { &["broker.prefix", "broker.exchange"] } else { &[] };
        keys.iter().map(|key| (*key, self.name.as_str())).collect()
    }

    /// Deletes what a measurement that failed has left on a RabbitMQ. One that does not answer has nothing of it.
    async fn remove_names(&self) -> anyhow::Result<()> {
        let Some(url) = self.broker else { return Ok(()) };
        let settings: Vec<_> = self.names().into_iter().chain([("broker.url", url)]).collect();
        let config = self.setup.load(&settings)?.config;
        match broker::rabbitmq::remove(&config.broker).await {
            Err(broker::rabbitmq::TopologyError::Away(_)) => Ok(()),
            removed => removed.with_context(|| format!("removing what is called {}", self.name)),
        }
    }
}

/// Tells on stderr what is measured now.
fn progress(scenario: &str, text: &str) {
    anstream::eprintln!("{scenario}: {text}");
}
