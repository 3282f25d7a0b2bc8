//! `carteiro dead-letters replay` and `discard`: the running process does both, tenant by tenant.

use std::collections::BTreeMap;

use control::Rate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::Exit;

use super::{FilterArgs, filter_of};
use crate::cli::{
    client::{ApiArgs, ApiRefusal, Method},
    confirm::ConfirmArgs,
    job,
    logs::{Counts, LogClient, tenant_path},
    output::{self, Output},
    replays::{self, Replay},
    setup::Setup,
};

/// The dead letters that a command is about, and how it asks.
#[derive(Debug, clap::Args)]
struct SelectionArgs {
    /// Ids of the dead letters.
    id: Vec<String>,
    /// All that match the filter, or all there are.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
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

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Most replays a second of each tenant.
    #[arg(long, value_name = "N")]
    rate_per_second: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    selection: SelectionArgs,
}

/// Selected dead letters, by tenant.
struct Selected {
    client: LogClient,
    filter: Value,
    matched: u64,
    /// How many there are, in words.
    many: String,
    /// Each tenant, and how many of them are its own.
    tenants: Vec<(String, u64)>,
}

impl SelectionArgs {
    /// Finds the selected dead letters. Fails with [`Exit::Usage`] without a selection.
    async fn find(&self, setup: &Setup) -> anyhow::Result<Selected> {
        let fields = self.filter.fields(&self.id)?;
        if !self.all && fields.is_empty() {
            let what = "which dead letters? Give ids, a filter such as --endpoint-id or --reason, or --all; --dry-run counts them";
            return Err(anyhow::anyhow!(what).context(Exit::Usage));
        }
        let client = LogClient::new(&self.api, setup)?;
        let (path, mut query) = client.path("dead-letters", self.filter.tenant.as_deref());
        query.extend(fields.clone());
        if self.filter.tenant.is_none() {
            query.push(("by", "tenant".to_owned()));
        }
        let counts: Counts = client.get(&format!("{path}/counts"), &query).await?;
        let of_item = |item: &Value| Some((item["tenant"].as_str()?.to_owned(), item["count"].as_u64()?));
        let tenants: Vec<_> = match &self.filter.tenant {
            Some(tenant) => vec![(tenant.clone(), counts.total)],
            None => counts.items.iter().filter_map(of_item).collect(),
        };
        let letters = if counts.total == 1 { "dead letter" } else { "dead letters" };
        let many = match tenants.len() {
            2.. => format!("{} {letters} of {} tenants", counts.total(), tenants.len()),
            _ => format!("{} {letters}", counts.total()),
        };
        let filter = serde_json::to_value(filter_of(&fields)?)?;
        let is_by_id = filter.get("ids").is_some();
        if is_by_id && counts.total == 0 && !self.dry_run {
            anyhow::bail!("there is no such dead letter, or it was replayed or discarded already");
        }
        Ok(Selected { client, filter, matched: counts.total, many, tenants })
    }
}

/// Numbers of dead letters that a replay found and sent.
#[derive(Debug, Default, Serialize)]
struct ReplayResult {
    matched: u64,
    replayed: u64,
    /// Dead letters whose bodies were not kept, whose endpoints are disabled, do not exist or were made anew, or that came
    /// back from a replay as too many have.
    skipped: u64,
    /// Id of each tenant's replay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    replays: BTreeMap<String, String>,
    /// Tenants whose replay the API refused, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, String>,
}

/// Starts one replay for each tenant with selected dead letters, and waits for its end. One that is refused stops no
/// other.
pub(super) async fn replay(setup: &Setup, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let ReplayArgs { selection: args, rate_per_second } = args;
    if let Some(Err(invalid)) = rate_per_second.map(Rate::try_from) {
        return Err(anyhow::anyhow!("--rate-per-second: {invalid}").context(Exit::Usage));
    }
    let selected = args.find(setup).await?;
    let mut result = ReplayResult { matched: selected.matched, ..ReplayResult::default() };
    if args.dry_run {
        output::result(args.output, &result, || format!("{} would be sent again", selected.many))?;
        return Ok(Exit::Done);
    }
    if args.all && selected.matched > 0 {
        args.confirm.confirm(&format!("{} will be sent again", selected.many))?;
    }
    let bar = output::progress_bar(selected.matched);
    for (tenant, own) in &selected.tenants {
        let request = json!({"filter": selected.filter, "rate_per_second": rate_per_second}).to_string();
        let before = result.replayed + result.skipped;
        let progress = |handled| bar.set_position(before + handled);
        match replay_of(&selected.client, tenant, request, progress).await {
            Ok(replay) => {
                result.replayed += replay.replayed;
                // What was counted and not found is of a former tenant.
                result.skipped += replay.skipped + own.saturating_sub(replay.matched);
                result.matched += replay.matched.saturating_sub(*own);
                result.replays.insert(tenant.clone(), replay.id);
            }
            Err(error) => _ = result.refused.insert(tenant.clone(), error.downcast::<ApiRefusal>()?.to_string()),
        }
    }
    bar.finish_and_clear();
    output::result(args.output, &result, || {
        let skipped = match result.skipped {
            0 => String::new(),
            skipped => format!(
                "; {skipped} cannot be: their bodies were not kept, their endpoints are disabled or made anew, or too many \
                 have failed again after replays"
            ),
        };
        format!("{} of {} replayed{skipped}", result.replayed, result.matched)
    })?;
    if !result.refused.is_empty() {
        anyhow::bail!("not replayed: {}", sentences(&result.refused));
    }
    Ok(if result.replayed == result.matched { Exit::Done } else { Exit::Failed })
}

async fn replay_of(
    client: &LogClient,
    tenant: &str,
    request: String,
    progress: impl Fn(u64),
) -> anyhow::Result<Replay> {
    let path = tenant_path(tenant, "replays");
    let replay: Value = client.call(Method::POST, &path, Some(request)).await?;
    replays::note_start(tenant, &job::id(&replay)?);
    let replay = job::ended(client, &path, replay, |replay| progress(replays::handled(replay))).await?;
    Ok(serde_json::from_value(replay)?)
}

/// Numbers of dead letters that a discard found and ended.
#[derive(Debug, Default, Serialize)]
struct DiscardResult {
    matched: u64,
    discarded: u64,
    /// Tenants whose discard the API refused, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Discarded {
    matched: u64,
    discarded: u64,
}

pub(super) async fn discard(setup: &Setup, args: &DiscardArgs) -> anyhow::Result<Exit> {
    let args = &args.selection;
    let selected = args.find(setup).await?;
    let mut result = DiscardResult { matched: selected.matched, ..DiscardResult::default() };
    if args.dry_run {
        output::result(args.output, &result, || format!("{} would be discarded", selected.many))?;
        return Ok(Exit::Done);
    }
    if selected.matched > 0 {
        args.confirm.confirm(&format!("{} will be discarded, and cannot be replayed any more", selected.many))?;
    }
    let bar = output::progress_bar(selected.matched);
    for (tenant, _) in &selected.tenants {
        let (path, request) = (tenant_path(tenant, "dead-letters/discard"), json!({"filter": selected.filter}));
        loop {
            match selected.client.call::<Discarded>(Method::POST, &path, Some(request.to_string())).await {
                Ok(Discarded { matched, discarded }) => {
                    result.discarded += discarded;
                    bar.set_position(result.discarded);
                    if matched == discarded {
                        break;
                    }
                }
                Err(error) => {
                    result.refused.insert(tenant.clone(), error.downcast::<ApiRefusal>()?.to_string());
                    break;
                }
            }
        }
    }
    bar.finish_and_clear();
    output::result(args.output, &result, || format!("{} of {} discarded", result.discarded, result.matched))?;
    if !result.refused.is_empty() {
        anyhow::bail!("not discarded: {}", sentences(&result.refused));
    }
    Ok(if result.discarded >= result.matched { Exit::Done } else { Exit::Failed })
}

fn sentences(refused: &BTreeMap<String, String>) -> String {
    refused.iter().map(|(tenant, why)| format!("{tenant}: {why}")).collect::<Vec<_>>().join("; ")
}
