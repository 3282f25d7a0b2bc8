//! `carteiro audit`: the changes and their authors, newest first.

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output::{List, Output, cell},
    setup::Setup,
};

/// Largest page of the API.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this tenant's changes.
    #[arg(long)]
    tenant: Option<String>,
    /// Most entries to print, the newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(serde::Deserialize)]
struct AuditPage {
    items: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, setup)?;
    let scope = args.tenant.as_deref().map_or(String::new(), |tenant| format!("/tenants/{}", path_segment(tenant)));
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let left = args.limit as usize - entries.len();
        let path = format!("/v1{scope}/audit?limit={}{cursor}", left.clamp(1, PAGE));
        let page: AuditPage = client.call(Method::GET, &path, None).await?;
        entries.extend(page.items.into_iter().take(left));
        match page.next {
            Some(next) if entries.len() < args.limit as usize => cursor = format!("&cursor={}", path_segment(&next)),
            _ => break,
        }
    }
    let mut rows = List::new(args.output, ["at", "who", "tenant", "what", "done", "fields"]);
    for entry in &entries {
        rows.push(entry, || row(entry))?;
    }
    rows.end()
}

/// An entry's row. Only `--output json` shows the resource before and after the change.
fn row(entry: &Value) -> Vec<String> {
    let done = match (&entry["before"], &entry["after"]) {
        (Value::Null, _) => "created",
        (_, Value::Null) => "deleted",
        _ => "changed",
    };
    let what = format!("{} {}", cell(&entry["kind"]), cell(&entry["item"]));
    let fields = if done == "changed" { changed_fields(&entry["before"], &entry["after"]) } else { String::new() };
    vec![cell(&entry["at"]), cell(&entry["author"]), cell(&entry["tenant"]), what, done.to_owned(), fields]
}

/// The names of the changed fields. Both values of a secret are masked alike: where no field differs, a secret was
/// changed.
fn changed_fields(before: &Value, after: &Value) -> String {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return String::new() };
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let new = after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name);
    let names: Vec<_> = gone.chain(new).map(String::as_str).collect();
    if names.is_empty() { "a secret".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_a_row() {
        let entry = json!({"id": 7, "at": "2026-01-31T08:00:00Z", "revision": 9, "tenant": "acme", "author": "operator",
            "kind": "endpoint", "item": "crm", "before": {"id": "crm", "url": "a", "name": "n"},
            "after": {"id": "crm", "url": "b", "format": "whazing"}});
        let shown = row(&entry);
        assert_eq!(shown, ["2026-01-31T08:00:00Z", "operator", "acme", "endpoint crm", "changed", "name, url, format"]);
        let rotated = json!({"before": {"token": "***"}, "after": {"token": "***"}});
        assert_eq!(row(&rotated)[4..], ["changed", "a secret"]);
        let made = json!({"kind": "key", "item": "k", "after": {}});
        assert_eq!(row(&made)[3..], ["key k", "created", ""]);
    }
}
