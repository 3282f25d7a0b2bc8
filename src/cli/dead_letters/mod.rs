//! `carteiro dead-letters`: look at deliveries that ended without a 2xx, send them again, or discard them.

mod selection;

use anyhow::Context as _;
use clap::Subcommand;
use control::DeadLetterFilter;
use schemas::{DeadLetter, DeadReason};
use service::Exit;

use self::selection::{DiscardArgs, ReplayArgs};
use super::{
    client::path_segment,
    logs::{Counts, ExportArgs, ListArgs, LogArgs, LogClient, Query},
    output::{self, List, Output},
    setup::Setup,
    words::word,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List live dead letters: those that were neither replayed nor discarded since.
    ///
    /// The operator sees those of all tenants, a tenant with its own key those of --tenant.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Show one dead letter, with its body.
    Show {
        /// Its id.
        id: String,
        /// The tenant it must belong to.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        log: LogArgs,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Count live dead letters.
    Counts {
        #[command(flatten)]
        filter: FilterArgs,
        /// By what: `tenant` is the operator's.
        #[arg(long, default_value = "reason", value_parser = ["reason", "tenant", "endpoint_id"])]
        by: String,
        #[command(flatten)]
        log: LogArgs,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Write live dead letters, with their bodies, as lines of JSON, the oldest first.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        to: ExportArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Send dead letters again, beginning with a first attempt.
    ///
    /// The running process does it, and leaves out those for endpoints that are disabled or do not exist. See `carteiro
    /// replays`.
    Replay(ReplayArgs),
    /// Discard dead letters: they are neither listed nor replayed any more.
    Discard(DiscardArgs),
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
    #[arg(long, value_parser = word::<DeadReason>())]
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
    /// The fields of the filter, with further ids. Fails with [`Exit::Usage`] where one cannot be used.
    fn fields(&self, ids: &[String]) -> anyhow::Result<Query> {
        let one = |name, text: &'_ Option<String>| text.clone().map(|text| (name, text));
        let ids = self.ids.iter().chain(ids).map(|id| ("ids", id.clone()));
        let fields = [
            one("endpoint_id", &self.endpoint_id),
            one("reason", &self.reason),
            one("event_type", &self.event_type),
            one("since", &self.since),
            one("until", &self.until),
        ];
        let fields: Query = ids.chain(fields.into_iter().flatten()).collect();
        filter_of(&fields)?;
        Ok(fields)
    }

    /// The path of a view of the dead letters, with the query that selects them.
    fn path(&self, client: &LogClient, view: &str) -> anyhow::Result<(String, Query)> {
        let (path, mut query) = client.path("dead-letters", self.tenant.as_deref());
        query.extend(self.fields(&[])?);
        Ok((path + view, query))
    }
}

fn filter_of(fields: &Query) -> anyhow::Result<DeadLetterFilter> {
    let mut filter = DeadLetterFilter::default();
    for (name, text) in fields {
        let set = filter.set(name, text);
        set.with_context(|| format!("--{} {text}", name.replace('_', "-"))).context(Exit::Usage)?;
    }
    Ok(filter)
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.command {
        DeadLettersCommand::List { filter, list: args, log } => list(&log.open(setup).await?, &filter, &args).await,
        DeadLettersCommand::Show { id, tenant, log, output } => {
            show(&log.open(setup).await?, tenant.as_deref(), &id, output).await
        }
        DeadLettersCommand::Counts { filter, by, log, output } => {
            let client = log.open(setup).await?;
            let (path, mut query) = filter.path(&client, "/counts")?;
            query.push(("by", by.clone()));
            let counts: Counts = client.get(&path, &query).await?;
            counts.print(&by, output, |reason| DeadReason::parse(reason).map_or("", what_to_do))
        }
        DeadLettersCommand::Export { filter, to, log } => {
            let client = log.open(setup).await?;
            let (path, query) = filter.path(&client, "")?;
            to.write::<DeadLetter>(&client, &path, query).await
        }
        DeadLettersCommand::Replay(args) => selection::replay(setup, &args).await,
        DeadLettersCommand::Discard(args) => selection::discard(setup, &args).await,
    }
}

async fn list(client: &LogClient, filter: &FilterArgs, args: &ListArgs) -> anyhow::Result<Exit> {
    let (path, mut query) = filter.path(client, "")?;
    query.push(("order", args.order.as_str().to_owned()));
    let headings = ["id", "dead at", "tenant", "endpoint", "event", "reason", "attempts", "last"];
    let (mut list, mut reasons) = (List::new(args.output, headings), std::collections::BTreeSet::new());
    let see = |letter: DeadLetter| {
        reasons.insert(letter.reason);
        list.push(&letter, || row(&letter))
    };
    let is_whole = client.each(&path, &query, args.limit as usize, see).await?;
    list.end()?;
    args.explain(reasons, what_to_do)?;
    args.note_rest(is_whole);
    Ok(Exit::Done)
}

/// What ended a delivery, and what to do about it.
fn what_to_do(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Exhausted => "it failed until its schedule ended; replay it once the receiver works",
        DeadReason::Expired => "it failed until its maximum age; replay it once the receiver works",
        DeadReason::Permanent => "the receiver answered 410 Gone; ask its owner, enable the endpoint, replay it",
        DeadReason::EndpointDisabled => "the endpoint was disabled while it waited; enable it, replay it",
        DeadReason::EndpointGone => "the endpoint was deleted while it waited; make it anew, replay with --endpoint-id",
        DeadReason::Overflow => {
            "more waited for the endpoint than its max_backlog; replay it slowly (--rate-per-second)"
        }
        DeadReason::TooLarge => "its body is too large for the broker, and was not kept; it cannot be replayed",
        DeadReason::Cancelled => "somebody cancelled what waited; nothing is to be done, or replay it",
    }
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let last = letter.last.as_ref().map_or(String::new(), |last| match last.status {
        Some(status) => status.to_string(),
        None => last.outcome.to_string(),
    });
    let again = if letter.replay_id.is_some() { ", after a replay" } else { "" };
    vec![
        letter.id.clone(),
        letter.dead_at.clone(),
        letter.tenant.clone(),
        letter.endpoint_id.clone(),
        letter.event_type.clone(),
        format!("{}{again}", letter.reason),
        letter.attempts.to_string(),
        last,
    ]
}

async fn show(client: &LogClient, tenant: Option<&str>, id: &str, output: Output) -> anyhow::Result<Exit> {
    let (path, query) = client.path("dead-letters", tenant);
    // Without a process, the tenant is no part of the path.
    let letter: DeadLetter = client.get(&format!("{path}/{}", path_segment(id)), &Query::new()).await?;
    if query.iter().any(|(_, tenant)| *tenant != letter.tenant) {
        anyhow::bail!("there is no dead letter {id} of this tenant");
    }
    match output {
        Output::Json => output::json(&letter)?,
        Output::Table => {
            output::pretty(&letter)?;
            anstream::eprintln!("{}: {}", letter.reason, what_to_do(letter.reason));
        }
    }
    Ok(Exit::Done)
}
