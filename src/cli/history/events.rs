//! `carteiro events list` and `events show`: which events came, and what became of them.

use serde_json::Value;
use service::Exit;

use super::{
    cells,
    filter::FilterArgs,
    follow::{Followed, pause, read},
    item_path,
};
use crate::cli::{
    client::{ApiArgs, Client, Method},
    logs::LogClient,
    output::{self, List, Output},
    setup::Setup,
};

const COLUMNS: [&str; 8] = ["id", "accepted at", "type", "source", "channel", "queue", "ticket", "matched"];
const FIELDS: [&str; 8] = ["id", "accepted_at", "type", "source", "channel_id", "queue_id", "ticket_id", "matched"];

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those that made a delivery, or those that made none.
    #[arg(long)]
    matched: Option<bool>,
    /// Most events to list.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Go on with those that are new.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Its id.
    id: String,
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn list(setup: &Setup, args: ListArgs) -> anyhow::Result<Exit> {
    let client = LogClient::new(&args.api, setup)?;
    let (path, mut query) = (client.path("events", args.filter.tenant.as_deref()).0, args.filter.query());
    query.extend(args.matched.map(|matched| ("matched", matched.to_string())));
    if args.follow {
        let clock = service::clock::system();
        let mut followed = Followed::new(&client, path, query, clock());
        let mut see = |event: &Value| print(event, args.output);
        loop {
            followed.look(clock(), &mut see).await?;
            if !pause().await {
                return Ok(Exit::Done);
            }
        }
    }
    let mut list = List::new(args.output, COLUMNS);
    let see = |event: &Value| list.push(event, || cells(event, &FIELDS));
    let is_whole = read(&client, &path, &query, args.limit as usize, see).await?;
    list.end()?;
    if !is_whole {
        anstream::eprintln!("there are more: --limit, or narrow it down");
    }
    Ok(Exit::Done)
}

pub(crate) async fn show(setup: &Setup, args: ShowArgs) -> anyhow::Result<Exit> {
    let path = item_path(&args.tenant, "events", &args.id);
    let story: Value = Client::new(&args.api, setup)?.call(Method::GET, &path, None).await?;
    match args.output {
        Output::Json => output::json(&story)?,
        Output::Table => tell(&story)?,
    }
    Ok(Exit::Done)
}

/// Prints one event in a line.
pub(super) fn print(event: &Value, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return output::json(event);
    }
    let text = |name: &str| output::cell(&event[name]);
    let matched = if event["matched"] == true { "" } else { "  nobody wanted it" };
    output::line(format_args!(
        "{}  {} from {}{matched}  {}",
        text("accepted_at"),
        text("type"),
        text("source"),
        text("id")
    ))
}

/// Tells what became of an event.
fn tell(story: &Value) -> anyhow::Result<()> {
    let names = [
        ("event", "id"),
        ("type", "type"),
        ("source", "source"),
        ("accepted at", "accepted_at"),
        ("occurred at", "occurred_at"),
        ("channel", "channel_id"),
        ("queue", "queue_id"),
        ("ticket", "ticket_id"),
        ("protocol", "protocol"),
    ];
    let mut lines: Vec<_> = names.map(|(name, field)| (name.to_owned(), output::cell(&story[field]))).into();
    lines.retain(|(_, value)| !value.is_empty());
    output::aligned(&lines)?;
    let list = |name: &str| story[name].as_array().cloned().unwrap_or_default();
    let (deliveries, unmatched) = (list("deliveries"), list("unmatched"));
    if deliveries.is_empty() {
        output::line("\nit made no delivery")?;
    } else {
        output::line("\ndeliveries")?;
        for one in &deliveries {
            let text = |name: &str| output::cell(&one[name]);
            let state = [text("state"), text("reason")].join(" ");
            output::line(format_args!("  {} -> {}: {}", text("id"), text("endpoint_id"), state.trim_end()))?;
        }
    }
    if !unmatched.is_empty() {
        output::line("\nnot wanted by")?;
        for one in &unmatched {
            let text = |name: &str| output::cell(&one[name]);
            let meaning = meaning(one["reason"].as_str().unwrap_or_default());
            let (subscription, endpoint, reason) = (text("subscription_id"), text("endpoint_id"), text("reason"));
            output::line(format_args!("  {subscription} (-> {endpoint}): {reason}, {meaning}"))?;
        }
    } else if deliveries.is_empty() {
        output::line("the tenant had no subscription")?;
    }
    match story["body"].as_str() {
        Some(body) => output::line(format_args!("\n{body}")),
        None => output::line("\nits body is not kept any more"),
    }
}

/// What a reason says, in words.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "event_types" => "it does not want events of this type",
        "channel_ids" => "it is for other channels",
        "queue_ids" => "it is for other queues",
        "directions" => "it is for messages that go the other way",
        "ticket_statuses" => "it is for tickets with another status",
        "groups" => "it is not for messages of groups",
        "no_last_message" => "the transfer has no message to send",
        "disabled" => "it is switched off",
        "format_has_no_such_event" => "the endpoint's format has no such event",
        _ => "see `carteiro explain`",
    }
}
