//! Many endpoints under a steady load: first without, then with some endpoints that accept requests and never answer.
//! The scenario compares the latencies of the healthy endpoints, from the intake to the receiver. It passes when the
//! black-holed endpoints raise their p99 to at most 1.2 times.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;
use service::Exit;
use tokio::{
    net::TcpListener,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::latencies::{Latencies, median};
use crate::{
    cli::{
        client::{Client, Method},
        output::{self, Output},
        sandbox::{Sandbox, SandboxOptions, client_of},
        setup::Setup,
    },
    receiver::{Answer, Received, Receiver},
};

/// Response time of a healthy endpoint.
const ANSWER_TIME: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(5);
/// Percentage of a phase, at its beginning, that is not measured: connections are opened, and breakers open.
const WARM_UP: u32 = 25;
/// Highest passing ratio of the p99 with black-holed endpoints to the p99 without.
const ALLOWED: f64 = 1.2;
const LOG_LEVEL: (&str, &str) = ("telemetry.level", "error");

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of endpoints.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    endpoints: u32,
    /// How many of them accept requests and never answer, in the second phase.
    #[arg(long, default_value_t = 20)]
    black_holed: u32,
    /// Events a second, spread evenly over all endpoints.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_second: u32,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// How often both phases are measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Use this RabbitMQ, with a prefix and an exchange of its own, instead of the embedded broker.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// How to print the result: for people (table), or as a JSON object.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Serialize)]
struct IsolationRound {
    without: Latencies,
    with: Latencies,
    /// The p99 with black-holed endpoints, divided by the p99 without.
    ratio: f64,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    setup.start_logging(&setup.load(&[LOG_LEVEL])?.config, &[])?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let round = measure(setup, &args).await?;
        if args.output == Output::Table {
            show(&round)?;
        }
        rounds.push(round);
    }
    let ratio = median(rounds.iter().map(|round| round.ratio).collect());
    match args.output {
        Output::Json => output::json(&json!({"scenario": "isolation", "rounds": rounds, "ratio": ratio}))?,
        Output::Table => output::line(format_args!(
            "healthy p99 with {} of {} endpoints black-holed: {ratio:.2} times that without (at most {ALLOWED})",
            args.black_holed, args.endpoints
        ))?,
    }
    Ok(if ratio <= ALLOWED { Exit::Done } else { Exit::Failed })
}

fn show(round: &IsolationRound) -> anyhow::Result<()> {
    for (name, phase) in [("without", &round.without), ("with", &round.with)] {
        let Latencies { count, p50_ms, p99_ms, max_ms } = phase;
        output::line(format_args!(
            "{name:>8}: {count} deliveries, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, longest {max_ms:.1} ms"
        ))?;
    }
    output::line(format_args!("   ratio: {:.2}", round.ratio))
}

/// Measures both phases, in a sandbox.
async fn measure(setup: &Setup, args: &Args) -> anyhow::Result<IsolationRound> {
    let script = |received: &Received| match received.path.starts_with("/black-holed") {
        true => Answer::Hang,
        false => Answer::Status(200, ANSWER_TIME),
    };
    let mut receiver = Receiver::start(TcpListener::bind("127.0.0.1:0").await?, Arc::new(script))?;
    let broker = args.broker.as_deref();
    let options =
        SandboxOptions { command: "bench", broker, tenants: &tenants(args, &receiver), settings: &[LOG_LEVEL] };
    let sandbox = Sandbox::prepare(setup, &options)?;
    let stop = CancellationToken::new();
    let process = sandbox.start(stop.clone()).await?;
    let client = Arc::new(client_of(&process)?);
    let without = phase(args, false, &client, &mut receiver).await?;
    let with = phase(args, true, &client, &mut receiver).await?;
    // Hanging requests would delay the end, so their receiver is dropped first.
    drop(receiver);
    stop.cancel();
    process.finish().await?;
    sandbox.remove().await?;
    Ok(IsolationRound { ratio: with.p99_ms / without.p99_ms, without, with })
}

/// The tenants as YAML, one for each endpoint, so that endpoints share only the process.
fn tenants(args: &Args, receiver: &Receiver) -> String {
    let mut yaml = "tenants:\n".to_owned();
    for nth in 0..args.endpoints {
        let kind = if is_black_holed(args, nth) { "black-holed" } else { "healthy" };
        let url = receiver.url(&format!("/{kind}/{nth}"));
        // Writing to a String never fails.
        let _ = writeln!(
            yaml,
            "  - id: t{nth}\n    endpoints:\n      - {{id: e, url: \"{url}\"}}\n    subscriptions:\n      \
             - {{id: s, endpoint_id: e, event_types: [\"*\"]}}"
        );
    }
    yaml
}

/// True for the last `black_holed` endpoints.
fn is_black_holed(args: &Args, nth: u32) -> bool {
    nth >= args.endpoints.saturating_sub(args.black_holed)
}

/// Publishes to all endpoints, or only to the healthy ones, and measures the latencies of the healthy ones.
async fn phase(
    args: &Args,
    with_black_holed: bool,
    client: &Arc<Client>,
    receiver: &mut Receiver,
) -> anyhow::Result<Latencies> {
    let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let mut ticks = interval(Duration::from_secs(1) / args.per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut publishing = JoinSet::new();
    let count = args.per_second * args.seconds;
    for number in 0..count {
        ticks.tick().await;
        let nth = number % args.endpoints;
        if is_black_holed(args, nth) && !with_black_holed {
            continue;
        }
        let id = format!("bench-{with_black_holed}-{number}");
        if !is_black_holed(args, nth) && number >= count / 100 * WARM_UP {
            sent.lock().await.insert(id.clone(), Instant::now());
        }
        publishing.spawn(publish(client.clone(), nth, id));
        while let Some(published) = publishing.try_join_next() {
            published??;
        }
    }
    while let Some(published) = publishing.join_next().await {
        published??;
    }
    Ok(Latencies::of(collect(&mut *sent.lock().await, receiver).await?))
}

async fn publish(client: Arc<Client>, nth: u32, id: String) -> anyhow::Result<()> {
    let body = json!({"id": id, "type": "ticket.created"}).to_string();
    let _: serde_json::Value = client.call(Method::POST, &format!("/v1/tenants/t{nth}/events"), Some(body)).await?;
    Ok(())
}

/// Waits until all sent events have arrived, and returns their latencies.
async fn collect(sent: &mut HashMap<String, Instant>, receiver: &mut Receiver) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(sent.len());
    let late = sleep(GRACE);
    tokio::pin!(late);
    while !sent.is_empty() {
        let received = tokio::select! {
            received = receiver.received.recv() => received,
            () = &mut late => anyhow::bail!("{} deliveries did not arrive in time", sent.len()),
        };
        let Some(received) = received else { break };
        if let Some(at) = sent.remove(received.header("webhook-id")) {
            latencies.push(received.at.saturating_duration_since(at.into_std()));
        }
    }
    Ok(latencies)
}
