//! `carteiro usage` and `carteiro audit`: how much a tenant used, and who changed what.

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method},
    print,
    resources::{cell, segment},
    setup::{Output, Setup},
    table,
};

/// What the columns of usage are: heading and field.
const USAGE: [(&str, &str); 8] = [
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
pub(super) struct UsageArgs {
    /// Whose.
    #[arg(long)]
    tenant: String,
    /// From this day on, in UTC: 2026-01-31.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Each endpoint by itself.
    #[arg(long)]
    by_endpoint: bool,
    /// Up to this day, and with it.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<String>,
    /// At most so many, the newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What the API lists.
#[derive(serde::Deserialize)]
struct Items {
    items: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

pub(super) async fn usage(setup: &Setup, args: UsageArgs) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, &setup.load(&[])?.config)?;
    let days = [("from", &args.from), ("to", &args.to)];
    let mut query: Vec<_> =
        days.iter().filter_map(|(name, day)| Some(format!("{name}={}", segment(day.as_deref()?)))).collect();
    query.extend(args.by_endpoint.then(|| "by=endpoint".to_owned()));
    let path = format!("/v1/tenants/{}/usage?{}", segment(&args.tenant), query.join("&"));
    let usage: Items = client.call(Method::GET, path.trim_end_matches('?'), None).await?;
    let is_shown = |(_, field): &&(&str, &str)| args.by_endpoint || *field != "endpoint_id";
    let (headings, fields): (Vec<_>, Vec<_>) = USAGE.iter().filter(is_shown).copied().unzip();
    list(&usage.items, &headings, args.output, |item| fields.iter().map(|field| cell(&item[*field])).collect())
}

pub(super) async fn audit(setup: &Setup, args: AuditArgs) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, &setup.load(&[])?.config)?;
    let of = args.tenant.as_deref().map_or(String::new(), |tenant| format!("/tenants/{}", segment(tenant)));
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let left = args.limit as usize - entries.len();
        let path = format!("/v1{of}/audit?limit={}{cursor}", left.clamp(1, 1_000));
        let page: Items = client.call(Method::GET, &path, None).await?;
        entries.extend(page.items.into_iter().take(left));
        match page.next {
            Some(next) if entries.len() < args.limit as usize => cursor = format!("&cursor={}", segment(&next)),
            _ => break,
        }
    }
    list(&entries, &["at", "who", "tenant", "what", "done", "fields"], args.output, audited)
}

fn list(
    items: &[Value],
    headings: &[&str],
    output: Output,
    row: impl Fn(&Value) -> Vec<String>,
) -> anyhow::Result<Exit> {
    let mut rows = table::of(headings.iter().copied());
    for item in items {
        match output {
            Output::Json => print::json(item)?,
            Output::Table => {
                rows.add_row(row(item));
            }
        }
    }
    if output == Output::Table {
        print::line(rows)?;
    }
    Ok(Exit::Done)
}

/// A change as a row: the states before and after are for `--output json`.
fn audited(entry: &Value) -> Vec<String> {
    let done = match (&entry["before"], &entry["after"]) {
        (Value::Null, _) => "created",
        (_, Value::Null) => "deleted",
        _ => "changed",
    };
    let what = format!("{} {}", cell(&entry["kind"]), cell(&entry["item"]));
    let fields = if done == "changed" { differing(&entry["before"], &entry["after"]) } else { String::new() };
    vec![cell(&entry["at"]), cell(&entry["author"]), cell(&entry["tenant"]), what, done.to_owned(), fields]
}

/// The names of the fields that differ. A secret differs as its mask does, so that nothing seems to.
fn differing(before: &Value, after: &Value) -> String {
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
        let row = audited(&entry);
        assert_eq!(row, ["2026-01-31T08:00:00Z", "operator", "acme", "endpoint crm", "changed", "name, url, format"]);
        let rotated = json!({"before": {"token": "***"}, "after": {"token": "***"}});
        assert_eq!(audited(&rotated)[4..], ["changed", "a secret"]);
        let made = json!({"kind": "key", "item": "k", "after": {}});
        assert_eq!(audited(&made)[3..], ["key k", "created", ""]);
    }
}
