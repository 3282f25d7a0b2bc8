//! `carteiro deliveries`: what became of each delivery, its story, and sending it again.

use clap::Subcommand;
use serde_json::{Value, json};
use service::Exit;

use super::{
    cells,
    filter::FilterArgs,
    follow::{Followed, read},
    item_path,
    replay::{self, ReplayArgs},
};
use crate::cli::{
    client::{ApiArgs, Client, Method},
    logs::LogClient,
    output::{self, List, Output},
    setup::Setup,
};

const COLUMNS: [&str; 10] = [
    "id",
    "accepted at",
    "event type",
    "endpoint",
    "state",
    "attempts",
    "last outcome",
    "status",
    "ticket",
    "protocol",
];
const FIELDS: [&str; 10] = [
    "id",
    "accepted_at",
    "event_type",
    "endpoint_id",
    "state",
    "attempt_count",
    "last.outcome",
    "last.status",
    "ticket_id",
    "protocol",
];

#[derive(Debug, clap::Args)]
pub(crate) struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Debug, Subcommand)]
enum DeliveriesCommand {
    /// List deliveries, newest first.
    List(Box<ListArgs>),
    /// Show one delivery with its story: every attempt, the request, the answer, and who wanted it.
    Show {
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
    },
    /// Send again what a filter finds, to its own endpoints or to another one.
    Replay(Box<ReplayArgs>),
    /// Send a delivery again, whatever became of it, under the same webhook-id.
    Resend {
        /// Its id.
        id: String,
        /// The tenant's id.
        #[arg(long)]
        tenant: String,
        /// Send it to this endpoint instead, rendered anew in its format.
        #[arg(long)]
        endpoint_id: Option<String>,
        #[command(flatten)]
        api: ApiArgs,
        /// How to print the result.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Most deliveries to list.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Go on with those that are new, and those that change.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn run(setup: &Setup, args: DeliveriesArgs) -> anyhow::Result<Exit> {
    match args.command {
        DeliveriesCommand::List(args) => list(setup, *args).await,
        DeliveriesCommand::Show { id, tenant, api, output } => {
            let path = item_path(&tenant, "deliveries", &id);
            let story: Value = Client::new(&api, setup)?.call(Method::GET, &path, None).await?;
            match output {
                Output::Json => output::json(&story)?,
                Output::Table => tell(&story)?,
            }
            Ok(Exit::Done)
        }
        DeliveriesCommand::Replay(args) => replay::run(setup, *args).await,
        DeliveriesCommand::Resend { id, tenant, endpoint_id, api, output } => {
            let path = format!("{}/resend", item_path(&tenant, "deliveries", &id));
            let body = endpoint_id.map(|id| json!({"endpoint_id": id}).to_string());
            let answer: Value = Client::new(&api, setup)?.call(Method::POST, &path, body).await?;
            match output {
                Output::Json => output::json(&answer)?,
                Output::Table => output::line(format_args!("{}: sent again", output::cell(&answer["delivery_id"])))?,
            }
            Ok(Exit::Done)
        }
    }
}

async fn list(setup: &Setup, args: ListArgs) -> anyhow::Result<Exit> {
    let client = LogClient::new(&args.api, setup)?;
    let (path, query) = (client.path("deliveries", args.filter.tenant.as_deref()).0, args.filter.query());
    if args.follow {
        return follow(&client, path, query, args.output).await;
    }
    let mut list = List::new(args.output, COLUMNS);
    let see = |delivery: &Value| list.push(delivery, || cells(delivery, &FIELDS));
    let is_whole = read(&client, &path, &query, args.limit as usize, see).await?;
    list.end()?;
    if !is_whole {
        anstream::eprintln!("there are more: --limit, or narrow it down");
    }
    Ok(Exit::Done)
}

async fn follow(
    client: &LogClient,
    path: String,
    query: crate::cli::logs::Query,
    output: Output,
) -> anyhow::Result<Exit> {
    let clock = service::clock::system();
    let mut followed = Followed::new(client, path, query, clock());
    let mut see = |delivery: &Value| print(delivery, output);
    loop {
        tokio::select! {
            looked = followed.look(clock(), &mut see) => looked?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
        if !super::follow::pause().await {
            return Ok(Exit::Done);
        }
    }
}

/// Prints one delivery in a line.
pub(super) fn print(delivery: &Value, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => output::json(delivery),
        Output::Table => output::line(sentence(delivery)),
    }
}

/// One delivery in words.
fn sentence(delivery: &Value) -> String {
    let text = |pointer: &str| output::cell(delivery.pointer(pointer).unwrap_or(&Value::Null));
    let last = &delivery["last"];
    let what = match delivery["state"].as_str() {
        Some("delivered") => format!("delivered, {} in {} ms", text("/last/status"), text("/last/duration_ms")),
        Some("dead") => format!("dead: {}", text("/reason")),
        _ if last.is_null() => "waits for its first attempt".to_owned(),
        _ => format!(
            "attempt {} failed ({}), next at {}",
            text("/last/number"),
            text("/last/outcome"),
            text("/next_due")
        ),
    };
    format!("{}  {} -> {}  {what}  {}", text("/accepted_at"), text("/event_type"), text("/endpoint_id"), text("/id"))
}

/// Tells a delivery's story.
fn tell(story: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| output::cell(story.pointer(pointer).unwrap_or(&Value::Null));
    let mut lines: Vec<(String, String)> = [
        ("delivery", "/id"),
        ("event", "/event_id"),
        ("event type", "/event_type"),
        ("endpoint", "/endpoint_id"),
        ("accepted at", "/accepted_at"),
        ("channel", "/channel_id"),
        ("queue", "/queue_id"),
        ("ticket", "/ticket_id"),
        ("protocol", "/protocol"),
        ("wanted by", "/matched_by"),
        ("state", "/state"),
        ("reason", "/reason"),
        ("next attempt", "/next_due"),
    ]
    .into_iter()
    .map(|(name, pointer)| (name.to_owned(), text(pointer)))
    .collect();
    lines.retain(|(_, value)| !value.is_empty());
    output::aligned(&lines)?;
    for attempt in story["attempts"].as_array().into_iter().flatten() {
        let of = |pointer: &str| output::cell(attempt.pointer(pointer).unwrap_or(&Value::Null));
        let status = Some(of("/status")).filter(|status| !status.is_empty()).unwrap_or_else(|| of("/outcome"));
        output::line(format_args!(
            "\nrun {}, attempt {} at {}: {status} after {} ms{}",
            of("/run"),
            of("/number"),
            of("/at"),
            of("/duration_ms"),
            Some(of("/remote_address"))
                .filter(|address| !address.is_empty())
                .map_or(String::new(), |at| format!(", from {at}")),
        ))?;
        let excerpt = of("/response_excerpt");
        if !excerpt.is_empty() {
            output::line(excerpt.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))?;
        }
    }
    match story["body"].as_str() {
        Some(body) => output::line(format_args!("\n{body}")),
        None => output::line("\nits body is not kept any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_told_in_one_sentence() {
        let delivery = |state: &str, last: Value, reason: Value| {
            sentence(&json!({"id": "d1", "accepted_at": "2026-01-31T08:00:00.000Z", "event_type": "ticket.created",
                "endpoint_id": "crm", "state": state, "last": last, "reason": reason, "next_due": "2026-01-31T08:00:05.000Z"}))
        };
        let failed = json!({"number": 1, "outcome": "5xx", "status": 503, "duration_ms": 12});
        for (told, words) in [
            (delivery("waiting", Value::Null, Value::Null), "waits for its first attempt"),
            (
                delivery("waiting", failed.clone(), Value::Null),
                "attempt 1 failed (5xx), next at 2026-01-31T08:00:05.000Z",
            ),
            (delivery("delivered", json!({"status": 200, "duration_ms": 8}), Value::Null), "delivered, 200 in 8 ms"),
            (delivery("dead", failed, json!("exhausted")), "dead: exhausted"),
        ] {
            assert!(told.contains(words), "{told}");
        }
    }
}
