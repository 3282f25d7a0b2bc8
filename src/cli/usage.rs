//! `carteiro usage`: how much a tenant used, by day.

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{List, Output, cell},
    setup::Setup,
};

/// The columns of the table: heading and field.
const COLUMNS: [(&str, &str); 8] = [
    ("day", "day"),
    ("endpoint", "endpoint_id"),
    ("events", "events"),
    ("deliveries", "deliveries"),
    ("attempts", "attempts"),
    ("delivered", "delivered"),
    ("dead", "dead"),
    ("bytes", "bytes"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    /// First day, in UTC: 2026-01-31.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Show each endpoint by itself.
    #[arg(long)]
    by_endpoint: bool,
    /// Last day, in UTC.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(serde::Deserialize)]
struct UsageAnswer {
    items: Vec<Value>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, setup)?;
    let days = [("from", &args.from), ("to", &args.to)];
    let mut query: Vec<_> =
        days.iter().filter_map(|(name, day)| Some(format!("{name}={}", path_segment(day.as_deref()?)))).collect();
    query.extend(args.by_endpoint.then(|| "by=endpoint".to_owned()));
    let path = format!("/v1/tenants/{}/usage?{}", path_segment(&args.tenant), query.join("&"));
    let usage: UsageAnswer = client.call(Method::GET, path.trim_end_matches('?'), None).await?;
    let is_shown = |(_, field): &&(&str, &str)| args.by_endpoint || *field != "endpoint_id";
    let (headings, fields): (Vec<_>, Vec<_>) = COLUMNS.iter().filter(is_shown).copied().unzip();
    let mut list = List::new(args.output, headings);
    for item in &usage.items {
        list.push(item, || fields.iter().map(|field| cell(&item[*field])).collect())?;
    }
    list.end()
}
