//! `carteiro parked`: look at messages that could not be processed, keep them in a file, and publish them again.

use std::collections::BTreeSet;

use clap::Subcommand;
use schemas::{ParkReason, Parked};
use service::Exit;

use super::{
    client::{ApiArgs, ApiRefusal, Method, path_segment},
    logs::{Counts, ExportArgs, ListArgs, LogArgs, LogClient, Query},
    output::{self, List, Output},
    setup::Setup,
    words::word,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ParkedCommand,
}

#[derive(Debug, Subcommand)]
enum ParkedCommand {
    /// List parked messages that were not published again.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Count them.
    Counts {
        #[command(flatten)]
        filter: FilterArgs,
        /// By what.
        #[arg(long, default_value = "reason", value_parser = ["reason", "tenant"])]
        by: String,
        #[command(flatten)]
        log: LogArgs,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Write them, with their bodies, as lines of JSON, the oldest first.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        to: ExportArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Publish parked messages again, unchanged, through a running process. They are listed no more, and stay in the log,
    /// which only age and size empty.
    Requeue {
        /// Ids of the messages.
        #[arg(required = true)]
        id: Vec<String>,
        /// Also those that were published again already.
        #[arg(long)]
        again: bool,
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
        #[command(flatten)]
        log: LogArgs,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// The API's filter of parked messages.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Only those that name this tenant, which need not exist.
    #[arg(long)]
    tenant: Option<String>,
    /// Only with this reason.
    #[arg(long, value_parser = word::<ParkReason>())]
    reason: Option<String>,
}

impl FilterArgs {
    fn query(self) -> Query {
        let fields = [("tenant", self.tenant), ("reason", self.reason)];
        fields.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

#[derive(serde::Serialize)]
struct RequeueResult {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

const PATH: &str = "/v1/parked";

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.command {
        ParkedCommand::List { filter, list: args, log } => list(&log.open(setup).await?, filter.query(), &args).await,
        ParkedCommand::Show { id, log, output } => show(&log.open(setup).await?, &id, output).await,
        ParkedCommand::Counts { filter, by, log, output } => {
            let mut query = filter.query();
            query.push(("by", by.clone()));
            let counts: Counts = log.open(setup).await?.get(&format!("{PATH}/counts"), &query).await?;
            counts.print(&by, output, |reason| ParkReason::parse(reason).map_or("", what_to_do))
        }
        ParkedCommand::Export { filter, to, log } => {
            to.write::<Parked>(&log.open(setup).await?, PATH, filter.query()).await
        }
        ParkedCommand::Requeue { id, again, api, output } => {
            requeue(&LogClient::new(&api, setup)?, id, again, output).await
        }
    }
}

async fn list(client: &LogClient, mut query: Query, args: &ListArgs) -> anyhow::Result<Exit> {
    query.push(("order", args.order.as_str().to_owned()));
    let headings = ["id", "parked at", "reason", "tenant", "event id", "routing key", "detail"];
    let (mut list, mut reasons) = (List::new(args.output, headings), BTreeSet::new());
    let see = |parked: Parked| {
        reasons.insert(parked.reason);
        list.push(&parked, || row(&parked))
    };
    let is_whole = client.each(PATH, &query, args.limit as usize, see).await?;
    list.end()?;
    args.explain(reasons, what_to_do)?;
    args.note_rest(is_whole);
    Ok(Exit::Done)
}

fn row(parked: &Parked) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    // The broker itself notes no time.
    let at = match (&parked.parked_at, &parked.accepted_at) {
        (None, Some(accepted)) => format!("after {accepted}"),
        (at, _) => text(at),
    };
    vec![
        parked.id.clone(),
        at,
        parked.reason.to_string(),
        text(&parked.tenant),
        text(&parked.event_id),
        text(&parked.routing_key),
        text(&parked.detail),
    ]
}

/// What parked a message, and what to do about it.
fn what_to_do(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Decode => "its body is no JSON object; tell the publisher",
        ParkReason::Schema => "a key of the event has the wrong type, or its version is unknown; tell the publisher",
        ParkReason::Identity => "its id or tenant is missing or contradictory; tell the publisher",
        ParkReason::Tenant => "its tenant does not exist; create it and requeue, or tell the publisher",
        ParkReason::TooLarge => "its body is larger than an event may be; tell the publisher",
        ParkReason::Unroutable => {
            "no queue was bound for it; `carteiro topology verify`, `topology apply`, then requeue"
        }
        ParkReason::DeliveryLimit => {
            "its consumers died of it or of something else; deliveries come back by themselves"
        }
        ParkReason::Panic => "handling it fails each time; keep it (`parked show`) and report it",
        ParkReason::FanoutLimit => {
            "it would make too many deliveries; raise router.max_fan_out and requeue, or subscribe less"
        }
    }
}

async fn show(client: &LogClient, id: &str, output: Output) -> anyhow::Result<Exit> {
    let parked: Parked = client.get(&format!("{PATH}/{}", path_segment(id)), &Query::new()).await?;
    match output {
        Output::Json => output::json(&parked)?,
        Output::Table => {
            output::pretty(&parked)?;
            anstream::eprintln!("{}: {}", parked.reason, what_to_do(parked.reason));
        }
    }
    Ok(Exit::Done)
}

/// Requeues messages one by one. A refusal is printed, and the next message is tried.
async fn requeue(client: &LogClient, ids: Vec<String>, again: bool, output: Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for id in ids {
        let path = format!("{PATH}/{}/requeue{}", path_segment(&id), if again { "?again=true" } else { "" });
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
