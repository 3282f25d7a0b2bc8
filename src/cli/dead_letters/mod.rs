//! `carteiro dead-letters`: look at deliveries that ended without a 2xx, and send them again.

mod replay;

use anyhow::Context as _;
use clap::Subcommand;
use control::{DeadLetterFilter, dead_letters};
use futures_util::TryStreamExt as _;
use schemas::DeadLetter;
use service::Exit;

use super::{
    logs::{ExportArgs, LogSource},
    output::{self, List, Output},
    setup::Setup,
};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read the stream of this RabbitMQ instead of broker.url's.
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List live dead letters: those that were not replayed since.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show one dead letter, with its body.
    Show {
        /// Its id.
        id: String,
        /// The tenant it must belong to.
        #[arg(long)]
        tenant: Option<String>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Write live dead letters, with their bodies, as lines of JSON.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        to: ExportArgs,
    },
    /// Send dead letters again, beginning with a first attempt.
    ///
    /// With the embedded broker the running process does it, and leaves out those for endpoints that are disabled or do not
    /// exist. With RabbitMQ this command does it, which knows no endpoints: their deliveries end as dead letters again, with
    /// their bodies.
    Replay(replay::ReplayArgs),
}

/// The API's filter of dead letters, as flags of the same names.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only these ids, separated by commas.
    #[arg(long, value_delimiter = ',')]
    ids: Vec<String>,
    /// Only to this endpoint.
    #[arg(long)]
    endpoint_id: Option<String>,
    /// Only with this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only of events of this type.
    #[arg(long)]
    event_type: Option<String>,
    /// Only those that ended at this time (RFC 3339) or later.
    #[arg(long)]
    since: Option<String>,
    /// Only those that ended before this time (RFC 3339).
    #[arg(long)]
    until: Option<String>,
}

impl FilterArgs {
    /// The filter of the flags, with further ids.
    fn filter(&self, ids: &[String]) -> anyhow::Result<DeadLetterFilter> {
        let mut filter = DeadLetterFilter::default();
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
    let config = setup.load_with_broker(args.broker.as_deref())?.config;
    match args.command {
        DeadLettersCommand::List { filter, output } => list(&config, &filter, output).await,
        DeadLettersCommand::Show { id, tenant, output } => show(&config, tenant.as_deref(), &id, output).await,
        DeadLettersCommand::Export { filter, to } => export(&config, &filter, &to).await,
        DeadLettersCommand::Replay(args) => replay::run(setup, &config, &args).await,
    }
}

async fn list(config: &Config, args: &FilterArgs, output: Output) -> anyhow::Result<Exit> {
    let source = LogSource::open(config).await?;
    let mut letters = dead_letters::list(source.logs(), args.tenant.as_deref(), &args.filter(&[])?)
        .await
        .context(Exit::Unavailable)?;
    let headings = ["id", "dead at", "tenant", "endpoint", "event", "reason", "attempts", "last"];
    let mut list = List::new(output, headings);
    while let Some(letter) = letters.try_next().await.context(Exit::Unavailable)? {
        list.push(&letter, || row(&letter))?;
    }
    list.end()
}

async fn export(config: &Config, args: &FilterArgs, to: &ExportArgs) -> anyhow::Result<Exit> {
    let source = LogSource::open(config).await?;
    let letters = dead_letters::list(source.logs(), args.tenant.as_deref(), &args.filter(&[])?).await;
    to.write(letters.context(Exit::Unavailable)?).await
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let last = letter.last.as_ref().map_or(String::new(), |last| match last.status {
        Some(status) => status.to_string(),
        None => last.outcome.to_string(),
    });
    vec![
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

async fn show(config: &Config, tenant: Option<&str>, id: &str, output: Output) -> anyhow::Result<Exit> {
    let source = LogSource::open(config).await?;
    let letter = dead_letters::show(source.logs(), tenant, 0, id).await.context(Exit::Unavailable)?;
    let letter = letter.with_context(|| format!("there is no dead letter {id}"))?;
    match output {
        Output::Json => output::json(&letter)?,
        Output::Table => output::pretty(&letter)?,
    }
    Ok(Exit::Done)
}
