//! `carteiro explain`: which subscriptions of a tenant an event matches, and why the others do not.

use std::io::Read as _;

use anyhow::Context as _;
use schemas::Dialect;
use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{List, Output, cell},
    setup::Setup,
    words::typed_word,
};

/// Columns of the table, each with its field.
const COLUMNS: [(&str, &str); 8] = [
    ("subscription", "subscription_id"),
    ("endpoint", "endpoint_id"),
    ("matched", "matched"),
    ("reason", "reason"),
    ("expected", "expected"),
    ("actual", "actual"),
    ("endpoint is", "endpoint_state"),
    ("delivers", "would_deliver"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event: JSON, a file that holds it, or `-` for standard input. Canonical, or a vendor's with --dialect or
    /// --source.
    event: String,
    /// The tenant whose subscriptions are asked.
    #[arg(long)]
    tenant: String,
    /// Read the event as this vendor's webhook body.
    #[arg(long, value_parser = typed_word::<Dialect>(), conflicts_with = "source")]
    dialect: Option<Dialect>,
    /// Read the event as this source of the tenant would.
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Channel of a vendor's body that names none.
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(serde::Deserialize)]
struct ExplainResults {
    results: Vec<Value>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    if args.channel.is_some() && args.dialect.is_none() && args.source.is_none() {
        return Err(anyhow::anyhow!("--channel needs --dialect or --source").context(Exit::Usage));
    }
    let client = Client::new(&args.api, setup)?;
    let parameters = [
        ("dialect", args.dialect.map(Dialect::as_str)),
        ("source_id", args.source.as_deref()),
        ("channel_id", args.channel.as_deref()),
    ];
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", path_segment((*value)?))));
    let query = given.collect::<Vec<_>>().join("&");
    let path = format!("/v1/tenants/{}/explain?{query}", path_segment(&args.tenant));
    let answer: ExplainResults = client.call(Method::POST, &path, Some(read_event(&args.event)?)).await?;
    let mut list = List::new(args.output, COLUMNS.map(|(heading, _)| heading));
    for result in &answer.results {
        list.push(result, || COLUMNS.map(|(_, field)| cell(&result[field])).into())?;
    }
    list.end()
}

fn read_event(event: &str) -> anyhow::Result<String> {
    if event == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
        return Ok(text);
    }
    if event.trim_start().starts_with('{') {
        return Ok(event.to_owned());
    }
    std::fs::read_to_string(event).with_context(|| event.to_owned())
}
