//! `carteiro export`: the configured tenants, as the YAML that `apply` and the `file:` store read.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::FlowSeq;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    output,
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Include keys, tokens and signing secrets, so that everything can be restored from the export.
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, setup)?;
    let tenant = args.tenant.as_deref().map_or(String::new(), |tenant| format!("&tenant={}", path_segment(tenant)));
    let path = format!("/v1/export?with_secrets={}{tenant}", args.with_secrets);
    let exported = client.call(Method::GET, &path, None).await?;
    output::line(yaml(&exported)?.trim_end())?;
    Ok(Exit::Done)
}

fn yaml(exported: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { compact_list_indent: false, prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&CompactYaml(exported), options)?)
}

/// JSON as YAML, with lists of scalars on one line.
struct CompactYaml<'a>(&'a Value);

impl Serialize for CompactYaml<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
                FlowSeq(items).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(CompactYaml)),
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, CompactYaml(value))))
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::Description;

    use super::*;

    #[test]
    fn an_export_is_readable_yaml_and_is_read_back_by_apply() {
        let exported = json!({"tenants": [
            {
                "id": "acme", "name": "Acme: the # company", "quota": {"events_per_second": 50.0},
                "endpoints": [{"id": "crm", "url": "https://crm.example/hooks", "secrets": [], "headers": {"a": "yes"},
                    "retry": {"schedule": ["5s", "30s"], "max_age": "72h"}, "disabled_reason": "410"}],
                "subscriptions": [{"id": "crm-7", "endpoint_id": "crm", "channel_ids": ["7", "-"],
                    "event_types": ["message.received", "ticket.*", "*"]}],
                "sources": [{"id": "main", "dialect": "whazing", "channel_id": 7, "token": "12e456"}],
                "keys": [{"id": "0x1", "scopes": ["publish"], "hash": format!("sha256:{}", "0".repeat(64))}],
            },
            {"id": "b"},
        ]});
        let expected = r#"tenants:
  - id: acme
    name: "Acme: the # company"
    quota:
      events_per_second: 50.0
    endpoints:
      - id: crm
        url: https://crm.example/hooks
        secrets: []
        headers:
          a: "yes"
        retry:
          schedule: [5s, 30s]
          max_age: 72h
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
        token: "12e456"
    keys:
      - id: "0x1"
        scopes: [publish]
        hash: sha256:0000000000000000000000000000000000000000000000000000000000000000
  - id: b
"#;
        let text = yaml(&exported).unwrap();
        assert_eq!(text, expected);
        let read = Description::read(&["-".into()], text.as_bytes()).unwrap();
        assert_eq!(Value::from(read.tenants()), exported["tenants"]);
    }
}
