//! `carteiro stats`: counts by hour or day.

use serde_json::Value;
use service::Exit;

use super::{cells, note_completeness};
use crate::cli::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{self, List, Output},
    setup::Setup,
};

const COLUMNS: [&str; 7] = ["at", "events", "delivered", "failed attempts", "dead", "p50 ms", "p95 ms"];
const FIELDS: [&str; 7] = ["at", "events", "delivered", "failed_attempts", "dead", "p50_ms", "p95_ms"];

#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    /// Only of this endpoint.
    #[arg(long)]
    endpoint_id: Option<String>,
    /// From this time (RFC 3339) on. Default: the last 24 hours, or 30 days.
    #[arg(long)]
    since: Option<String>,
    /// Until this time (RFC 3339). Default: now.
    #[arg(long)]
    until: Option<String>,
    /// Width of a line.
    #[arg(long, default_value = "hour", value_parser = ["hour", "day"])]
    by: String,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn run(setup: &Setup, args: StatsArgs) -> anyhow::Result<Exit> {
    let fields =
        [("since", args.since), ("until", args.until), ("endpoint_id", args.endpoint_id), ("by", Some(args.by))];
    let pairs = fields.into_iter().filter_map(|(name, text)| Some(format!("{name}={}", path_segment(&text?))));
    let query = pairs.collect::<Vec<_>>().join("&");
    let path = format!("/v1/tenants/{}/stats?{query}", path_segment(&args.tenant));
    let answer: Value = Client::new(&args.api, setup)?.call(Method::GET, &path, None).await?;
    let mut list = List::new(args.output, COLUMNS);
    for point in answer["points"].as_array().into_iter().flatten() {
        list.push(point, || cells(point, &FIELDS))?;
    }
    let exit = list.end()?;
    note_completeness(answer["complete"] != false);
    if args.output == Output::Table && answer["points"].as_array().is_none_or(Vec::is_empty) {
        output::line("nothing was counted in that time")?;
    }
    Ok(exit)
}
