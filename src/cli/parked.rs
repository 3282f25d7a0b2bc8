//! `carteiro parked`: look at messages that could not be processed, keep them in a file, and publish them again.

use anyhow::Context as _;
use clap::Subcommand;
use control::parked;
use futures_util::TryStreamExt as _;
use service::Exit;

use super::{
    client::{ApiArgs, ApiRefusal, Client, Method, path_segment},
    logs::{ExportArgs, LogSource},
    output::{self, List, Output},
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read the stream of this RabbitMQ instead of broker.url's.
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: ParkedCommand,
}

#[derive(Debug, Subcommand)]
enum ParkedCommand {
    /// List all parked messages.
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Write all parked messages, with their bodies, as lines of JSON.
    Export {
        #[command(flatten)]
        to: ExportArgs,
    },
    /// Publish parked messages again, unchanged, through a running process. They stay in the log, which only age and
    /// size empty.
    Requeue {
        /// Ids of the messages.
        #[arg(required = true)]
        id: Vec<String>,
        #[command(flatten)]
        api: ApiArgs,
        /// How to print the result.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show one parked message, with its body.
    Show {
        /// Its id.
        id: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(serde::Serialize)]
struct RequeueResult {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_with_broker(args.broker.as_deref())?.config;
    match args.command {
        ParkedCommand::List { output } => list(&LogSource::open(&config).await?, output).await,
        ParkedCommand::Show { id, output } => show(&LogSource::open(&config).await?, &id, output).await,
        ParkedCommand::Export { to } => to.write(parked::list(LogSource::open(&config).await?.logs())).await,
        ParkedCommand::Requeue { id, api, output } => requeue(&Client::new(&api, setup)?, id, output).await,
    }
}

async fn list(source: &LogSource, output: Output) -> anyhow::Result<Exit> {
    let mut records = parked::list(source.logs());
    let mut list = List::new(output, ["id", "parked at", "reason", "tenant", "event id", "routing key", "detail"]);
    while let Some(record) = records.try_next().await.context(Exit::Unavailable)? {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        list.push(&record, || {
            vec![
                record.id.clone(),
                text(&record.parked_at),
                record.reason.to_string(),
                text(&record.tenant),
                text(&record.event_id),
                text(&record.routing_key),
                text(&record.detail),
            ]
        })?;
    }
    list.end()
}

async fn show(source: &LogSource, id: &str, output: Output) -> anyhow::Result<Exit> {
    let record = parked::show(source.logs(), id).await.context(Exit::Unavailable)?;
    let record = record.with_context(|| format!("nothing is parked under {id}"))?;
    match output {
        Output::Json => output::json(&record)?,
        Output::Table => output::pretty(&record)?,
    }
    Ok(Exit::Done)
}

/// Requeues messages one by one. A refusal is printed, and the next message is tried.
async fn requeue(client: &Client, ids: Vec<String>, output: Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for id in ids {
        let path = format!("/v1/parked/{}/requeue", path_segment(&id));
        let error = match client.call::<serde_json::Value>(Method::POST, &path, None).await {
            Ok(_) => None,
            Err(error) => Some(error.downcast::<ApiRefusal>()?.to_string()),
        };
        if error.is_some() {
            exit = Exit::Failed;
        }
        match (output, error) {
            (Output::Json, error) => output::json(&RequeueResult { id, error })?,
            (Output::Table, None) => output::line(format_args!("{id}: published again"))?,
            (Output::Table, Some(error)) => output::line(format_args!("{id}: {error}"))?,
        }
    }
    Ok(exit)
}
