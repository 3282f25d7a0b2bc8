//! `carteiro parked`: look at what could not be processed.

use anyhow::Context as _;
use clap::Subcommand;
use control::parked;
use futures_util::TryStreamExt as _;
use service::Exit;

use super::{
    logs::Source,
    print,
    setup::{Output, Setup},
    table::table,
};

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
    /// List all that is parked.
    List {
        /// How to print it.
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
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    let source = Source::open(&config).await?;
    match args.command {
        Command::List { output } => list(&source, output).await,
        Command::Show { id, output } => show(&source, &id, output).await,
    }
}

async fn list(source: &Source, output: Output) -> anyhow::Result<Exit> {
    let mut records = parked::list(source.logs());
    let mut rows = table(["id", "parked at", "reason", "tenant", "event id", "routing key", "detail"]);
    while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
        match output {
            Output::Json => print::json(&record)?,
            Output::Table => {
                let text = |text: Option<String>| text.unwrap_or_default();
                rows.add_row([
                    record.id,
                    text(record.parked_at),
                    record.reason.to_string(),
                    text(record.tenant),
                    text(record.event_id),
                    text(record.routing_key),
                    text(record.detail),
                ]);
            }
        }
    }
    if output == Output::Table {
        print::line(rows)?;
    }
    Ok(Exit::Done)
}

async fn show(source: &Source, id: &str, output: Output) -> anyhow::Result<Exit> {
    let record = parked::show(source.logs(), id).await.context(Exit::Unavailable)?;
    let record = record.with_context(|| format!("nothing is parked under {id}"))?;
    match output {
        Output::Json => print::json(&record)?,
        Output::Table => print::pretty(&record)?,
    }
    Ok(Exit::Done)
}
