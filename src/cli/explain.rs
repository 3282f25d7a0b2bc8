//! `carteiro explain`: which subscriptions of a tenant an event matches, and why the others do not.

use std::io::Read as _;

use anyhow::Context as _;
use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method},
    print,
    resources::{cell, segment},
    setup::{Output, Setup},
    table::table,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event: canonical JSON, a file of it, or `-` for standard input.
    event: String,
    /// Whose subscriptions.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(serde::Deserialize)]
struct Explained {
    results: Vec<Value>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, &setup.load(&[])?.config)?;
    let path = format!("/v1/tenants/{}/explain", segment(&args.tenant));
    let explained: Explained = client.call(Method::POST, &path, Some(read(&args.event)?)).await?;
    let mut rows = table(["subscription", "endpoint", "matched", "reason"]);
    for result in &explained.results {
        match args.output {
            Output::Json => print::json(result)?,
            Output::Table => {
                let columns = ["subscription_id", "endpoint_id", "matched", "reason"];
                rows.add_row(columns.map(|field| cell(&result[field])));
            }
        }
    }
    if args.output == Output::Table {
        print::line(rows)?;
    }
    Ok(Exit::Done)
}

fn read(event: &str) -> anyhow::Result<String> {
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
