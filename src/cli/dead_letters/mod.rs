//! `carteiro dead-letters`: look at deliveries that ended without a 2xx, and send them again.

mod filter;
mod replay;

use anyhow::Context as _;
use clap::Subcommand;
use control::dead_letters;
use futures_util::TryStreamExt as _;
use schemas::DeadLetter;
use service::Exit;

use super::{
    logs::Source,
    ndjson::To,
    print,
    setup::{Output, Setup},
    table::table,
};
use crate::config::Config;
use filter::FilterArgs;
use replay::{ReplayArgs, replay};

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
        /// Of this tenant.
        #[arg(long)]
        tenant: Option<String>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Write those that are alive, with their bodies, as lines of JSON.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        to: To,
    },
    /// Send them again, from the first attempt on.
    Replay(ReplayArgs),
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    match args.command {
        Command::List { filter, output } => list(&config, &filter, output).await,
        Command::Show { id, tenant, output } => show(&config, tenant.as_deref(), &id, output).await,
        Command::Export { filter, to } => export(&config, &filter, &to).await,
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

async fn export(config: &Config, args: &FilterArgs, to: &To) -> anyhow::Result<Exit> {
    let source = Source::open(config).await?;
    let letters = dead_letters::list(source.logs(), args.tenant.as_deref(), &args.filter(&[])?).await;
    to.write(letters.context(Exit::Unavailable)?).await
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

async fn show(config: &Config, tenant: Option<&str>, id: &str, output: Output) -> anyhow::Result<Exit> {
    let source = Source::open(config).await?;
    let letter = dead_letters::show(source.logs(), tenant, id).await.context(Exit::Unavailable)?;
    let letter = letter.with_context(|| format!("there is no dead letter {id}"))?;
    match output {
        Output::Json => print::json(&letter)?,
        Output::Table => print::pretty(&letter)?,
    }
    Ok(Exit::Done)
}
