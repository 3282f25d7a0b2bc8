//! `carteiro explain`: which subscriptions of a tenant an event matches, and why the others do not.

use std::io::Read as _;

use anyhow::Context as _;
use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{List, Output, cell},
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event: canonical JSON, a file that holds it, or `-` for standard input.
    event: String,
    /// The tenant whose subscriptions are asked.
    #[arg(long)]
    tenant: String,
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
    let client = Client::new(&args.api, setup)?;
    let path = format!("/v1/tenants/{}/explain", path_segment(&args.tenant));
    let answer: ExplainResults = client.call(Method::POST, &path, Some(read_event(&args.event)?)).await?;
    let mut list = List::new(args.output, ["subscription", "endpoint", "matched", "reason"]);
    for result in &answer.results {
        let fields = ["subscription_id", "endpoint_id", "matched", "reason"];
        list.push(result, || fields.map(|field| cell(&result[field])).into())?;
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
