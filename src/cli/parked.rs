//! `carteiro parked`: look at what could not be processed, keep it, and publish it again.

use anyhow::Context as _;
use clap::Subcommand;
use control::parked;
use futures_util::TryStreamExt as _;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method},
    logs::Source,
    ndjson::To,
    print,
    refused::Refused,
    resources::segment,
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
    /// Write all that is parked, with the bodies, as lines of JSON.
    Export {
        #[command(flatten)]
        to: To,
    },
    /// Publish it again, as it was, through a running process. It stays in the log, which only age and size empty.
    Requeue {
        /// Which, by id.
        #[arg(required = true)]
        id: Vec<String>,
        #[command(flatten)]
        api: ApiArgs,
        /// How to print the result.
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

/// What came of one.
#[derive(serde::Serialize)]
struct Requeued {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    match args.command {
        Command::List { output } => list(&Source::open(&config).await?, output).await,
        Command::Show { id, output } => show(&Source::open(&config).await?, &id, output).await,
        Command::Export { to } => to.write(parked::list(Source::open(&config).await?.logs())).await,
        Command::Requeue { id, api, output } => requeue(&Client::new(&api, &config)?, id, output).await,
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

/// One after the other: one that is refused is told, and holds up none of the others.
async fn requeue(client: &Client, ids: Vec<String>, output: Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for id in ids {
        let path = format!("/v1/parked/{}/requeue", segment(&id));
        let error = match client.call::<serde_json::Value>(Method::POST, &path, None).await {
            Ok(_) => None,
            Err(error) => Some(error.downcast::<Refused>()?.to_string()),
        };
        if error.is_some() {
            exit = Exit::Failed;
        }
        match (output, error) {
            (Output::Json, error) => print::json(&Requeued { id, error })?,
            (Output::Table, None) => print::line(format_args!("{id}: published again"))?,
            (Output::Table, Some(error)) => print::line(format_args!("{id}: {error}"))?,
        }
    }
    Ok(exit)
}
