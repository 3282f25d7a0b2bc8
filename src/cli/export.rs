//! `carteiro export`: what is configured, as the YAML that `apply` and the `file:` store read.

use schemas::{Endpoint, SourceConfig, Subscription};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use serde_saphyr::FlowSeq;
use service::{Exit, secret::MASK};

use super::{
    client::{ApiArgs, Client, Method},
    print,
    resources::segment,
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// With keys, tokens and signing secrets, so that everything can be restored from it.
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Deserialize)]
struct Exported {
    tenants: Vec<Map<String, Value>>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, &setup.load(&[])?.config)?;
    let tenant = args.tenant.as_deref().map_or(String::new(), |tenant| format!("&tenant={}", segment(tenant)));
    let path = format!("/v1/export?with_secrets={}{tenant}", args.with_secrets);
    let exported: Exported = client.call(Method::GET, &path, None).await?;
    print::line(yaml(exported.tenants)?.trim_end())?;
    Ok(Exit::Done)
}

/// In the order of their ids, without secrets that are masked and without what is as it is by default.
fn yaml(mut tenants: Vec<Map<String, Value>>) -> anyhow::Result<String> {
    for tenant in &mut tenants {
        tenant.retain(|_, value| !value.is_null() && *value != json!([]));
        for (name, value) in tenant.iter_mut() {
            if let Value::Array(items) = value {
                let usual = usual_of(name);
                items.iter_mut().for_each(|item| trim(item, &usual));
                items.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
            }
        }
    }
    tenants.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    let options = serde_saphyr::ser_options! { compact_list_indent: false, prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&Yaml(&json!({"tenants": tenants})), options)?)
}

/// What the items of a list are where nothing is said that need not be said.
fn usual_of(list: &str) -> Map<String, Value> {
    match list {
        "endpoints" => usual::<Endpoint>(&json!({"id": "", "url": ""})),
        "subscriptions" => usual::<Subscription>(&json!({"id": "", "endpoint_id": ""})),
        "sources" => usual::<SourceConfig>(&json!({"id": "", "dialect": "whazing", "token": ""})),
        _ => Map::new(),
    }
}

fn usual<T: DeserializeOwned + Serialize>(least: &Value) -> Map<String, Value> {
    let typed = T::deserialize(least).ok().and_then(|typed| serde_json::to_value(typed).ok());
    let Some(Value::Object(mut usual)) = typed else { return Map::new() };
    usual.retain(|name, _| least.get(name).is_none());
    usual
}

fn trim(item: &mut Value, usual: &Map<String, Value>) {
    let Value::Object(fields) = item else { return };
    if let Some(Value::Object(headers)) = fields.get_mut("headers") {
        headers.retain(|_, value| value["secret"] != MASK);
    }
    if let (Some(options), Some(Value::Object(usual))) = (fields.get_mut("format_options"), usual.get("format_options"))
    {
        trim(options, usual);
    }
    fields.retain(|name, value| {
        let is_masked = *value == MASK || value.as_array().is_some_and(|items| items.contains(&MASK.into()));
        !value.is_null() && !is_masked && *value != json!({}) && usual.get(name) != Some(value)
    });
}

/// JSON as YAML, with lists of scalars on one line.
struct Yaml<'a>(&'a Value);

impl Serialize for Yaml<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
                FlowSeq(items).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Yaml)),
            Value::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, Yaml(value)))),
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use store::Description;

    use super::*;

    fn exported() -> Value {
        json!([
            {"id": "b", "name": null, "endpoints": [], "subscriptions": [], "sources": [], "keys": []},
            {
                "id": "acme", "name": "Acme: the # company", "quota": {"events_per_second": 50.0},
                "endpoints": [
                    {"id": "z", "url": "https://z/", "secrets": [], "state": "disabled", "disabled_reason": "410"},
                    {"id": "crm", "url": "https://crm.example/hooks", "format": "canonical", "format_options": {},
                        "headers": {"a": "yes", "b": {"secret": "***"}}, "n8n_api_key": "***", "secrets": ["***"],
                        "signature": "v1", "timeout": "15s", "retry": {"schedule": ["5s", "30s"], "max_age": "72h"},
                        "max_in_flight": 64, "max_backlog": 100_000, "state": "active"},
                ],
                "subscriptions": [{"id": "crm-7", "endpoint_id": "crm", "enabled": true, "channel_ids": ["7", "-"],
                    "event_types": ["message.received", "ticket.*", "*"]}],
                "sources": [{"id": "main", "dialect": "whazing", "channel_id": 7, "token": "***", "keep_original": true}],
                "keys": [{"id": "0x1", "scopes": ["publish"], "hash": format!("sha256:{}", "0".repeat(64))}],
            },
        ])
    }

    fn text() -> String {
        yaml(serde_json::from_value(exported()).unwrap()).unwrap()
    }

    #[test]
    fn an_export_is_short_and_in_order() {
        let expected = r#"tenants:
  - id: acme
    name: "Acme: the # company"
    quota:
      events_per_second: 50.0
    endpoints:
      - id: crm
        url: https://crm.example/hooks
        headers:
          a: "yes"
        retry:
          schedule: [5s, 30s]
          max_age: 72h
      - id: z
        url: https://z/
        secrets: []
        state: disabled
        disabled_reason: "410"
    subscriptions:
      - id: crm-7
        endpoint_id: crm
        channel_ids: ["7", '-']
        event_types: [message.received, ticket.*, "*"]
    sources:
      - id: main
        dialect: whazing
        channel_id: 7
    keys:
      - id: "0x1"
        scopes: [publish]
        hash: sha256:0000000000000000000000000000000000000000000000000000000000000000
  - id: b
"#;
        assert_eq!(text(), expected);
    }

    #[test]
    fn apply_reads_what_export_wrote() {
        let read = Description::read(&["-".into()], text().as_bytes()).unwrap();
        let endpoint = &read.tenants()[0]["endpoints"][0];
        assert_eq!(endpoint["headers"], json!({"a": "yes"}));
        assert_eq!(read.tenants()[0]["subscriptions"][0]["channel_ids"], json!(["7", "-"]));
        assert_eq!(read.tenants()[0]["keys"][0]["id"], "0x1");
        assert_eq!(read.tenants()[1], json!({"id": "b"}));
    }
}
