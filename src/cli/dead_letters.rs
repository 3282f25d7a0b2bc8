//! `carteiro dead-letters`: look at deliveries that ended without a 2xx, and send them again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;
use control::{Filter, Rate, Replay, dead_letters};
use futures_util::TryStreamExt as _;
use schemas::DeadLetter;
use service::{Exit, Shutdown};

use super::{
    client::{ApiArgs, Client, Method},
    logs::Source,
    print,
    setup::{Output, Setup},
    table::table,
};
use crate::config::Config;

/// How often a running replay is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read a RabbitMQ's stream, instead of broker.url's.
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List those that are alive: not replayed since.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show one, with its body.
    Show {
        /// Its id.
        id: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Send them again, from the first attempt on.
    Replay(ReplayArgs),
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// Which, by id.
    id: Vec<String>,
    /// All that the filter means, or all there are.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
    /// How many a second, at most.
    #[arg(long, value_name = "N")]
    rate_per_second: Option<f64>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Of these ids, separated by commas.
    #[arg(long, value_delimiter = ',')]
    ids: Vec<String>,
    /// To this endpoint.
    #[arg(long)]
    endpoint_id: Option<String>,
    /// With this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Of events of this type.
    #[arg(long)]
    event_type: Option<String>,
    /// Ended then (RFC 3339) or later.
    #[arg(long)]
    since: Option<String>,
    /// Ended before then (RFC 3339).
    #[arg(long)]
    until: Option<String>,
}

impl FilterArgs {
    fn filter(&self, ids: &[String]) -> anyhow::Result<Filter> {
        let mut filter = Filter::default();
        let one = |name, text: &'_ Option<String>| text.clone().map(|text| (name, text));
        let ids = self.ids.iter().chain(ids).map(|id| ("ids", id.clone()));
        let fields = [
            one("endpoint_id", &self.endpoint_id),
            one("reason", &self.reason),
            one("event_type", &self.event_type),
            one("since", &self.since),
            one("until", &self.until),
        ];
        for (name, text) in ids.chain(fields.into_iter().flatten()) {
            let set = filter.set(name, &text);
            set.with_context(|| format!("--{} {text}", name.replace('_', "-"))).context(Exit::Usage)?;
        }
        Ok(filter)
    }
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    match args.command {
        Command::List { filter, output } => list(&config, &filter, output).await,
        Command::Show { id, output } => show(&config, &id, output).await,
        Command::Replay(args) => replay(&config, &args).await,
    }
}

async fn list(config: &Config, args: &FilterArgs, output: Output) -> anyhow::Result<Exit> {
    let source = Source::open(config).await?;
    let mut letters = dead_letters::list(source.logs(), args.tenant.as_deref(), &args.filter(&[])?)
        .await
        .context(Exit::Unavailable)?;
    let mut rows = table(["id", "dead at", "tenant", "endpoint", "event", "reason", "attempts", "last"]);
    while let Some(letter) = letters.try_next().await.context(Exit::Unavailable)? {
        match output {
            Output::Json => print::json(&letter)?,
            Output::Table => {
                rows.add_row(row(&letter));
            }
        }
    }
    if output == Output::Table {
        print::line(rows)?;
    }
    Ok(Exit::Done)
}

fn row(letter: &DeadLetter) -> [String; 8] {
    let last = letter.last.as_ref().map_or(String::new(), |last| match last.status {
        Some(status) => status.to_string(),
        None => last.outcome.to_string(),
    });
    [
        letter.id.clone(),
        letter.dead_at.clone(),
        letter.tenant.clone(),
        letter.endpoint_id.clone(),
        letter.event_type.clone(),
        letter.reason.to_string(),
        letter.attempts.to_string(),
        last,
    ]
}

async fn show(config: &Config, id: &str, output: Output) -> anyhow::Result<Exit> {
    let source = Source::open(config).await?;
    let letter = dead_letters::show(source.logs(), None, id).await.context(Exit::Unavailable)?;
    let letter = letter.with_context(|| format!("there is no dead letter {id}"))?;
    match output {
        Output::Json => print::json(&letter)?,
        Output::Table => print::pretty(&letter)?,
    }
    Ok(Exit::Done)
}

/// What a replay came to.
#[derive(Debug, Default, serde::Serialize)]
struct Replayed {
    matched: u64,
    replayed: u64,
}

async fn replay(config: &Config, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter(&args.id)?;
    if !args.all && args.filter.tenant.is_none() && filter == Filter::default() {
        return Err(anyhow::anyhow!("which? Give ids, a filter, or --all").context(Exit::Usage));
    }
    let rate = args.rate_per_second.map(Rate::try_from).transpose();
    let rate = rate.context("--rate-per-second").context(Exit::Usage)?;
    let result = match Source::open(config).await? {
        Source::Rabbit(broker) => replay_here(&*broker, args, &filter, rate).await?,
        Source::File(archive) => replay_there(&archive, config, args, &filter).await?,
    };
    if filter.ids.is_some() && result.matched == 0 && !args.dry_run {
        anyhow::bail!("there is no such dead letter, or it was replayed already");
    }
    match args.output {
        Output::Json => print::json(&result)?,
        Output::Table if args.dry_run => print::line(format_args!("{} match", result.matched))?,
        Output::Table => print::line(format_args!("{} of {} replayed", result.replayed, result.matched))?,
    }
    Ok(if args.dry_run || result.replayed == result.matched { Exit::Done } else { Exit::Failed })
}

/// On RabbitMQ this process replays itself.
async fn replay_here(
    broker: &dyn broker::Broker,
    args: &ReplayArgs,
    filter: &Filter,
    rate: Option<Rate>,
) -> anyhow::Result<Replayed> {
    let live = dead_letters::find(broker, args.filter.tenant.as_deref(), filter).await.context(Exit::Unavailable)?;
    let matched = live.len() as u64;
    if args.dry_run {
        return Ok(Replayed { matched, replayed: 0 });
    }
    let (clock, job) = (service::clock::system(), format!("cli-{}", service::chance::token()?));
    let replayed = std::sync::atomic::AtomicU64::new(0);
    let stop = Shutdown::on_signals()?.receiver();
    let replay = Replay { broker, job: &job[..20], rate, clock: &clock, stop };
    let bar = super::progress::bar(matched);
    let run = replay.run(live, |count| {
        replayed.store(count, std::sync::atomic::Ordering::Relaxed);
        bar.set_position(count);
    });
    run.await;
    bar.finish_and_clear();
    broker.close().await;
    Ok(Replayed { matched, replayed: replayed.into_inner() })
}

/// On the embedded broker the process that holds the file replays: one replay for each tenant concerned.
async fn replay_there(
    archive: &dyn broker::Logs,
    config: &Config,
    args: &ReplayArgs,
    filter: &Filter,
) -> anyhow::Result<Replayed> {
    let mut ids = BTreeMap::<String, Vec<String>>::new();
    let mut letters =
        dead_letters::list(archive, args.filter.tenant.as_deref(), filter).await.context(Exit::Unavailable)?;
    while let Some(letter) = letters.try_next().await.context(Exit::Unavailable)? {
        ids.entry(letter.tenant).or_default().push(letter.id);
    }
    let matched = ids.values().map(|ids| ids.len() as u64).sum();
    if args.dry_run {
        return Ok(Replayed { matched, replayed: 0 });
    }
    let client = Client::new(&args.api, config)?;
    let mut result = Replayed { matched, replayed: 0 };
    for (tenant, ids) in ids {
        let request = serde_json::json!({"filter": {"ids": ids}, "rate_per_second": args.rate_per_second});
        result.replayed += replay_over_api(&client, &tenant, request.to_string()).await?;
    }
    Ok(result)
}

/// A replay as the API answers it, as far as it matters here.
#[derive(serde::Deserialize)]
struct Job {
    id: String,
    state: String,
    replayed: u64,
}

async fn replay_over_api(client: &Client, tenant: &str, request: String) -> anyhow::Result<u64> {
    let path = format!("/v1/tenants/{tenant}/replays");
    let mut job: Job = client.call(Method::POST, &path, Some(request)).await?;
    while job.state == "running" {
        tokio::time::sleep(POLL).await;
        job = client.call(Method::GET, &format!("{path}/{}", job.id), None).await?;
    }
    Ok(job.replayed)
}
