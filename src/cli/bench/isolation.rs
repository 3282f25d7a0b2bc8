//! Many endpoints under a steady load; then the same, and beside them some that accept and never answer. What do the
//! healthy ones notice, from the intake to the receiver? The design wants 1.2 times the p99 at most.

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

use super::{
    Output, Setup,
    figures::{Latencies, median},
    stage::{self, Stage},
};
use crate::{
    cli::{
        client::{Client, Method},
        print,
    },
    receiver::{Answer, Receiver},
};

/// How long a healthy endpoint takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(20);
/// What is published last has this long to arrive.
const GRACE: Duration = Duration::from_secs(5);
/// The first part of a phase is not counted, in hundredths: connections are made, and breakers open.
const WARM_UP: u32 = 25;
/// What the design allows.
const ALLOWED: f64 = 1.2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Endpoints in all.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    endpoints: u32,
    /// Of these, how many accept and never answer in the second half.
    #[arg(long, default_value_t = 20)]
    black_holed: u32,
    /// Events a second, to all endpoints alike.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_second: u32,
    /// Seconds of each half.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// How often both halves are played; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// On this RabbitMQ, with a prefix and an exchange of its own, instead of the embedded broker.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// For people (table), or a JSON object.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

/// What came of both halves of a round.
#[derive(Debug, Serialize)]
struct Round {
    without: Latencies,
    with: Latencies,
    /// The second p99 by the first.
    ratio: f64,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    stage::log(setup)?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let round = play(setup, &args).await?;
        if args.output == Output::Table {
            show(&round)?;
        }
        rounds.push(round);
    }
    let ratio = median(rounds.iter().map(|round| round.ratio).collect());
    match args.output {
        Output::Json => print::json(&json!({"scenario": "isolation", "rounds": rounds, "ratio": ratio}))?,
        Output::Table => print::line(format_args!(
            "healthy p99 with {} of {} endpoints black-holed: {ratio:.2} times that without (at most {ALLOWED})",
            args.black_holed, args.endpoints
        ))?,
    }
    Ok(if ratio <= ALLOWED { Exit::Done } else { Exit::Failed })
}

fn show(round: &Round) -> anyhow::Result<()> {
    for (name, half) in [("without", &round.without), ("with", &round.with)] {
        let Latencies { count, p50_ms, p99_ms, max_ms } = half;
        print::line(format_args!(
            "{name:>8}: {count} deliveries, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, longest {max_ms:.1} ms"
        ))?;
    }
    print::line(format_args!("   ratio: {:.2}", round.ratio))
}

/// Both halves, on a process and a broker of their own.
async fn play(setup: &Setup, args: &Args) -> anyhow::Result<Round> {
    let script = |received: &crate::receiver::Received| match received.path.starts_with("/dead") {
        true => Answer::Hang,
        false => Answer::Status(200, ANSWERS_AFTER),
    };
    let mut receiver = Receiver::start(TcpListener::bind("127.0.0.1:0").await?, Arc::new(script))?;
    let stage = Stage::set(setup, args.broker.as_deref(), &conf(args, &receiver)).await?;
    let client = Arc::new(stage.client()?);
    let without = half(args, false, &client, &mut receiver).await?;
    let with = half(args, true, &client, &mut receiver).await?;
    // Requests that hang would hold up the end: their receiver goes first.
    drop(receiver);
    stage.clear().await?;
    Ok(Round { ratio: with.p99_ms / without.p99_ms, without, with })
}

/// One tenant for each endpoint: nobody shares anything but the process.
fn conf(args: &Args, receiver: &Receiver) -> String {
    let mut yaml = "tenants:\n".to_owned();
    for nth in 0..args.endpoints {
        let kind = if is_dead(args, nth) { "dead" } else { "well" };
        let url = receiver.url(&format!("/{kind}/{nth}"));
        // Writing to a text never fails.
        let _ = writeln!(
            yaml,
            "  - id: t{nth}\n    endpoints:\n      - {{id: e, url: \"{url}\"}}\n    subscriptions:\n      \
             - {{id: s, endpoint_id: e, event_types: [\"*\"]}}"
        );
    }
    yaml
}

/// The last ones are.
fn is_dead(args: &Args, nth: u32) -> bool {
    nth >= args.endpoints.saturating_sub(args.black_holed)
}

/// Publishes for a while, to all or to the healthy ones only; the latencies of what these got.
async fn half(
    args: &Args,
    with_dead: bool,
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
        if is_dead(args, nth) && !with_dead {
            continue;
        }
        let id = format!("bench-{with_dead}-{number}");
        if !is_dead(args, nth) && number >= count / 100 * WARM_UP {
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

/// What has arrived of what was sent, and will within a moment.
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
