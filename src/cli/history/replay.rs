//! `carteiro deliveries replay`: sends again what history has, to its own endpoints or to another one.

use serde_json::{Map, Value, json};
use service::Exit;

use super::filter::FilterArgs;
use crate::cli::{
    client::{ApiArgs, Method},
    confirm::ConfirmArgs,
    job,
    logs::{LogClient, tenant_path},
    output::{self, Output},
    replays,
    setup::Setup,
};

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
    let client = LogClient::new(&args.api, setup)?;
    let path = tenant_path(&tenant, "replays");
    let mut body = json!({
        "from": "history", "filter": filter, "dry_run": true,
        "to_endpoint_id": args.to_endpoint_id, "rate_per_second": args.rate_per_second,
    });
    let counted: Value = client.client.call(Method::POST, &path, Some(body.to_string())).await?;
    let more = if counted["at_least"] == true { "at least " } else { "" };
    let what = format!("{more}{} deliveries", counted["matched"]);
    if args.dry_run {
        output::result(args.output, &counted, || format!("{what} would be sent again"))?;
        return Ok(Exit::Done);
    }
    let to = args.to_endpoint_id.map(|to| format!(" to endpoint {to}")).unwrap_or_default();
    args.confirm.confirm(&format!("{what} of tenant {tenant} will be sent again{to}"))?;
    body["dry_run"] = false.into();
    let replay: Value = client.client.call(Method::POST, &path, Some(body.to_string())).await?;
    replays::note_start(&tenant, &job::id(&replay)?);
    let bar = output::progress_bar(replay["matched"].as_u64().unwrap_or_default());
    let replay = job::ended(&client, &path, replay, |replay| bar.set_position(replays::handled(replay))).await?;
    bar.finish_and_clear();
    output::result(args.output, &replay, || {
        let left = match replay["skipped"].as_u64() {
            None | Some(0) => String::new(),
            Some(skipped) => format!(
                "; {skipped} were not: their bodies are not kept, their endpoints are disabled or do not exist, or they wait anyway"
            ),
        };
        format!("{} sent again{left}", replay["replayed"])
    })?;
    Ok(job::exit(&replay))
}
