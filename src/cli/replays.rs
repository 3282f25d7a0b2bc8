//! `carteiro replays`: the replays of dead letters, and from history.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    logs::{LogClient, Query, tenant_path},
    output::{self, List, Output, cell},
    setup::Setup,
};

/// The columns of the table: heading and field.
const COLUMNS: [(&str, &str); 11] = [
    ("id", "id"),
    ("tenant", "tenant"),
    ("state", "state"),
    ("matched", "matched"),
    ("replayed", "replayed"),
    ("skipped", "skipped"),
    ("started at", "started_at"),
    ("ended at", "ended_at"),
    ("from", "from"),
    ("filter", "filter"),
    ("to", "to_endpoint_id"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ReplaysCommand,
}

#[derive(Debug, Subcommand)]
enum ReplaysCommand {
    /// List replays, the newest first.
    List {
        /// Only of this tenant.
        #[arg(long)]
        tenant: Option<String>,
        /// Most to print.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        api: ApiArgs,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a replay: how far it is, and what it has skipped.
    Show(ReplayArgs),
    /// Stop a replay. What it has not sent stays a dead letter.
    Stop(ReplayArgs),
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// Its id.
    id: String,
    /// The tenant it belongs to. The operator need not say it.
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A replay, as the API shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Replay {
    pub(super) id: String,
    pub(super) matched: u64,
    pub(super) replayed: u64,
    pub(super) skipped: u64,
}

/// Says on stderr that a replay was started, and how it is stopped.
pub(super) fn note_start(tenant: &str, id: &str) {
    anstream::eprintln!("replay {id} of {tenant} was started; `carteiro replays stop {id} --tenant {tenant}` stops it");
}

/// How many a replay has sent or skipped so far.
pub(super) fn handled(replay: &Value) -> u64 {
    ["replayed", "skipped"].iter().filter_map(|name| replay[name].as_u64()).sum()
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.command {
        ReplaysCommand::List { tenant, limit, api, output } => {
            let client = LogClient::new(&api, setup)?;
            let (path, query) = client.path("replays", tenant.as_deref());
            let mut list = List::new(output, COLUMNS.map(|(heading, _)| heading));
            let see =
                |replay: Value| list.push(&replay, || COLUMNS.iter().map(|(_, field)| cell(&replay[*field])).collect());
            let is_whole = client.each(&path, &query, limit as usize, see).await?;
            if !is_whole {
                anstream::eprintln!("there are more than {limit}: give --limit");
            }
            list.end()
        }
        ReplaysCommand::Show(args) => one(setup, &args, Method::GET).await,
        ReplaysCommand::Stop(args) => one(setup, &args, Method::DELETE).await,
    }
}

async fn one(setup: &Setup, args: &ReplayArgs, method: Method) -> anyhow::Result<Exit> {
    let client = LogClient::new(&args.api, setup)?;
    let tenant = match &args.tenant {
        Some(tenant) => tenant.clone(),
        None => tenant_of(&client, &args.id).await?,
    };
    let path = format!("{}/{}", tenant_path(&tenant, "replays"), path_segment(&args.id));
    let client: &Client = &client.client;
    let replay: Value = client.call(method, &path, None).await?;
    match args.output {
        Output::Json => output::json(&replay)?,
        Output::Table => output::fields(&replay)?,
    }
    Ok(Exit::Done)
}

/// The tenant of a replay, which the operator finds among all.
async fn tenant_of(client: &LogClient, id: &str) -> anyhow::Result<String> {
    let mut tenant = None;
    let see = |replay: Value| {
        if replay["id"] == id {
            tenant = replay["tenant"].as_str().map(str::to_owned);
        }
        Ok(())
    };
    client.each("/v1/replays", &Query::new(), usize::MAX, see).await?;
    tenant.ok_or_else(|| anyhow::anyhow!("there is no replay {id}: `carteiro replays list` shows all there are"))
}
