//! `carteiro dead-letters replay`. With RabbitMQ this process replays, with the embedded broker the process that holds
//! the file.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use control::{DeadLetterFilter, Rate, Replay, ReplayProgress, dead_letters};
use futures_util::TryStreamExt as _;
use service::Exit;

use super::FilterArgs;
use crate::{
    cli::{
        client::{ApiArgs, ApiRefusal, Client, Method},
        logs::LogSource,
        output::{self, Output},
        setup::Setup,
    },
    config::Config,
};

/// Interval of polling the API about a running replay.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// Ids of the dead letters.
    id: Vec<String>,
    /// Replay all that match the filter, or all there are.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
    /// Most replays a second.
    #[arg(long, value_name = "N")]
    rate_per_second: Option<f64>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Numbers of dead letters that a replay found and sent.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct ReplayResult {
    matched: u64,
    replayed: u64,
    /// Dead letters whose bodies were not kept, whose endpoints are disabled, do not exist or were made anew, or that came
    /// back from a replay as too many have.
    skipped: u64,
    /// Tenants whose replay the API refused, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, String>,
}

impl fmt::Display for ReplayResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} replayed", self.replayed, self.matched)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(
                f,
                "; {skipped} cannot be: their bodies were not kept, their endpoints are disabled or made anew, or too \
                 many have failed again after replays"
            ),
        }
    }
}

pub(super) async fn run(setup: &Setup, config: &Config, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter(&args.id)?;
    if !args.all && args.filter.tenant.is_none() && filter == DeadLetterFilter::default() {
        return Err(anyhow::anyhow!("which? Give ids, a filter, or --all").context(Exit::Usage));
    }
    let rate = args.rate_per_second.map(Rate::try_from).transpose();
    let rate = rate.context("--rate-per-second").context(Exit::Usage)?;
    let result = match LogSource::open(config).await? {
        LogSource::RabbitMq(broker) => replay_in_this_process(&*broker, args, &filter, rate).await?,
        LogSource::File(archive) => replay_by_running_process(&archive, setup, args, &filter).await?,
    };
    if filter.ids.is_some() && result.matched == 0 && !args.dry_run {
        anyhow::bail!("there is no such dead letter, or it was replayed already");
    }
    match args.output {
        Output::Json => output::json(&result)?,
        Output::Table if args.dry_run => output::line(format_args!("{} match", result.matched))?,
        Output::Table => output::line(&result)?,
    }
    if !result.refused.is_empty() {
        let refused: Vec<_> = result.refused.iter().map(|(tenant, why)| format!("{tenant}: {why}")).collect();
        anyhow::bail!("not replayed: {}", refused.join("; "));
    }
    Ok(if args.dry_run || result.replayed == result.matched { Exit::Done } else { Exit::Failed })
}

async fn replay_in_this_process(
    broker: &dyn broker::Broker,
    args: &ReplayArgs,
    filter: &DeadLetterFilter,
    rate: Option<Rate>,
) -> anyhow::Result<ReplayResult> {
    let live = dead_letters::find(broker, args.filter.tenant.as_deref(), filter).await.context(Exit::Unavailable)?;
    let matched = live.len() as u64;
    if args.dry_run {
        return Ok(ReplayResult { matched, ..ReplayResult::default() });
    }
    let (clock, job) = (service::clock::system(), format!("cli-{}", service::chance::token()?));
    let so_far = Mutex::new(ReplayProgress::default());
    let stop = service::shutdown::on_signals()?;
    let (receivers, replay_id, clock) = (None, &job[..20], &clock);
    let replay =
        Replay { broker, receivers, replay_id, has_room: None, rate, clock, outbox: None, metrics: None, stop };
    let bar = output::progress_bar(matched);
    let run = replay.run(live, |progress| {
        bar.set_position(progress.replayed + progress.skipped);
        *so_far.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    });
    run.await;
    bar.finish_and_clear();
    broker.close().await;
    let ReplayProgress { replayed, skipped } = so_far.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(ReplayResult { matched, replayed, skipped, ..ReplayResult::default() })
}

/// Starts one replay for each tenant with matching dead letters, and waits for its end. One that is refused stops no
/// other.
async fn replay_by_running_process(
    archive: &dyn broker::Logs,
    setup: &Setup,
    args: &ReplayArgs,
    filter: &DeadLetterFilter,
) -> anyhow::Result<ReplayResult> {
    let mut ids = BTreeMap::<String, Vec<String>>::new();
    let mut letters =
        dead_letters::list(archive, args.filter.tenant.as_deref(), filter).await.context(Exit::Unavailable)?;
    while let Some(letter) = letters.try_next().await.context(Exit::Unavailable)? {
        ids.entry(letter.tenant).or_default().push(letter.id);
    }
    let matched = ids.values().map(|ids| ids.len() as u64).sum();
    if args.dry_run {
        return Ok(ReplayResult { matched, ..ReplayResult::default() });
    }
    let client = Client::new(&args.api, setup)?;
    let mut result = ReplayResult { matched, ..ReplayResult::default() };
    for (tenant, ids) in ids {
        let filter = serde_json::json!({"ids": ids, "endpoint_id": args.filter.endpoint_id});
        let request = serde_json::json!({"filter": filter, "rate_per_second": args.rate_per_second});
        match replay_over_api(&client, &tenant, request.to_string()).await {
            Ok(job) => {
                result.replayed += job.replayed;
                // The API does not find dead letters of a former tenant.
                result.skipped += job.skipped + (ids.len() as u64).saturating_sub(job.matched);
            }
            Err(error) => _ = result.refused.insert(tenant, error.downcast::<ApiRefusal>()?.to_string()),
        }
    }
    Ok(result)
}

#[derive(serde::Deserialize)]
struct ReplayStatus {
    id: String,
    state: String,
    matched: u64,
    replayed: u64,
    skipped: u64,
}

async fn replay_over_api(client: &Client, tenant: &str, request: String) -> anyhow::Result<ReplayStatus> {
    let path = format!("/v1/tenants/{tenant}/replays");
    let mut answer: ReplayStatus = client.call(Method::POST, &path, Some(request)).await?;
    while answer.state == "running" {
        tokio::time::sleep(POLL).await;
        answer = client.call(Method::GET, &format!("{path}/{}", answer.id), None).await?;
    }
    Ok(answer)
}
