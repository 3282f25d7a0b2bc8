//! `carteiro deliveries replay`: sends again what history has, to its own endpoints or to another one.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use service::Exit;

use super::filter::FilterArgs;
use crate::cli::{
    client::{ApiArgs, Client, Method, path_segment},
    confirm::ConfirmArgs,
    output::{self, Output},
    setup::Setup,
};

/// Pause between two looks at a replay.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// All that the tenant has, where no filter says which.
    #[arg(long)]
    all: bool,
    /// Send all of it to this endpoint instead, rendered anew in its format, each part of an event once.
    #[arg(long)]
    to_endpoint_id: Option<String>,
    /// So many a second, at most.
    #[arg(long)]
    rate_per_second: Option<f64>,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Starts a replay, and waits for its end. Ctrl-C does not stop it: `replays stop` does.
pub(super) async fn run(setup: &Setup, args: ReplayArgs) -> anyhow::Result<Exit> {
    let usage = |text: &'static str| anyhow::anyhow!(text).context(Exit::Usage);
    let tenant = args.filter.tenant.clone().ok_or_else(|| usage("--tenant: a replay is of one tenant"))?;
    let filter: Map<String, Value> =
        args.filter.query().into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    if filter.is_empty() != args.all {
        return Err(usage("give a filter, such as --state dead, or --all"));
    }
    let client = Client::new(&args.api, setup)?;
    let path = format!("/v1/tenants/{}/replays", path_segment(&tenant));
    let mut body = json!({
        "from": "history", "filter": filter, "dry_run": true,
        "to_endpoint_id": args.to_endpoint_id, "rate_per_second": args.rate_per_second,
    });
    let counted: Value = client.call(Method::POST, &path, Some(body.to_string())).await?;
    let more = if counted["at_least"] == true { "at least " } else { "" };
    let what = format!("{more}{} deliveries", counted["matched"]);
    if args.dry_run {
        print(args.output, &counted, &format!("{what} would be sent again"))?;
        return Ok(Exit::Done);
    }
    let to = args.to_endpoint_id.map(|to| format!(" to endpoint {to}")).unwrap_or_default();
    args.confirm.confirm(&format!("{what} of tenant {tenant} will be sent again{to}"))?;
    body["dry_run"] = false.into();
    let mut replay: Value = client.call(Method::POST, &path, Some(body.to_string())).await?;
    let id = replay["id"].as_str().context("the answer has no id")?.to_owned();
    anstream::eprintln!("replay {id} was started; `carteiro replays stop {id} --tenant {tenant}` stops it");
    let number = |replay: &Value, name: &str| replay[name].as_u64().unwrap_or_default();
    let bar = output::progress_bar(number(&replay, "matched"));
    while replay["state"] == "running" {
        tokio::time::sleep(POLL).await;
        replay = client.call(Method::GET, &format!("{path}/{}", path_segment(&id)), None).await?;
        bar.set_position(number(&replay, "replayed") + number(&replay, "skipped"));
    }
    bar.finish_and_clear();
    let (replayed, skipped) = (number(&replay, "replayed"), number(&replay, "skipped"));
    let left = match skipped {
        0 => String::new(),
        skipped => format!(
            "; {skipped} were not: their bodies are not kept, their endpoints are disabled or do not exist, or they wait anyway"
        ),
    };
    print(args.output, &replay, &format!("{replayed} sent again{left}"))?;
    Ok(if replay["state"] == "done" { Exit::Done } else { Exit::Failed })
}

fn print(output: Output, answer: &Value, sentence: &str) -> anyhow::Result<()> {
    match output {
        Output::Json => output::json(answer),
        Output::Table => output::line(sentence),
    }
}
