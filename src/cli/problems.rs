//! `carteiro problems`: the endpoints that fail now, and what to do about them.

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{self, List, Output, cell},
    setup::Setup,
};

const COLUMNS: [&str; 7] = ["tenant", "endpoint", "cause", "since", "attempts", "waiting", "what to do"];
const FIELDS: [&str; 7] = ["tenant", "endpoint_id", "cause", "since", "attempts", "waiting", "suggestion"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Most endpoints to list.
    #[arg(long, default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let tenant = args.tenant.map(|tenant| format!("&tenant={}", path_segment(&tenant))).unwrap_or_default();
    let path = format!("/v1/problems?limit={}{tenant}", args.limit);
    let answer: Value = Client::new(&args.api, setup)?.call(Method::GET, &path, None).await?;
    let problems = answer["items"].as_array().cloned().unwrap_or_default();
    if args.output == Output::Table && problems.is_empty() {
        output::line("no endpoint fails")?;
        return Ok(Exit::Done);
    }
    let mut list = List::new(args.output, COLUMNS);
    for problem in &problems {
        list.push(problem, || FIELDS.iter().map(|field| cell(&problem[*field])).collect())?;
    }
    list.end()
}
