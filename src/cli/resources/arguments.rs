//! The shared flags of the resources' commands: the resource, the body of a change, and the notation of values.

use std::{convert::Infallible, fmt::Debug, io::Read as _};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};
use service::Exit;

use crate::cli::{
    client::{ApiArgs, path_segment},
    output::Output,
};

/// The owner of a collection: a tenant, or the whole installation.
pub(crate) trait Owner: clap::Args + Debug {
    /// Path of one of its collections in the API.
    fn path(&self, collection: &str) -> String;
}

#[derive(Debug, clap::Args)]
pub(crate) struct Installation {}

#[derive(Debug, clap::Args)]
pub(crate) struct TenantArg {
    /// The tenant's id.
    #[arg(long, value_name = "TENANT")]
    tenant: String,
}

impl Owner for Installation {
    fn path(&self, collection: &str) -> String {
        format!("/v1/{collection}")
    }
}

impl Owner for TenantArg {
    fn path(&self, collection: &str) -> String {
        format!("/v1/tenants/{}/{collection}", path_segment(&self.tenant))
    }
}

/// The flags of every command: the collection's owner, the API, and the output.
#[derive(Debug, clap::Args)]
pub(crate) struct CollectionArgs<O: Owner> {
    #[command(flatten)]
    pub(super) owner: O,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
}

/// One resource of a collection.
#[derive(Debug, clap::Args)]
pub(crate) struct ResourceArgs<O: Owner> {
    /// Its id.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) collection: CollectionArgs<O>,
}

/// The body of a change: fields as flags, and as JSON. Flags win.
#[derive(Debug, clap::Args)]
pub(crate) struct BodyArgs<F: clap::Args> {
    #[command(flatten)]
    fields: F,
    /// Further fields: a JSON object, `@FILE` that holds one, or `-` for standard input.
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
}

/// The fields to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// A field to remove, such as `name`, or with dots `retry.schedule`; may be repeated.
    #[arg(long = "unset", value_name = "FIELD")]
    fields: Vec<String>,
}

impl<F: clap::Args + Serialize> BodyArgs<F> {
    /// Reads the body as one object. Fails with [`Exit::Usage`] when `--json` is not an object, or flags contradict.
    pub(super) fn read(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = self.json.as_deref().map(read_object).transpose().context(Exit::Usage)?.unwrap_or_default();
        if let Value::Object(fields) = serde_json::to_value(&self.fields).context(Exit::Usage)? {
            overwrite(&mut body, fields);
        }
        Ok(body)
    }
}

fn read_object(text: &str) -> anyhow::Result<Map<String, Value>> {
    let text = match text.strip_prefix('@') {
        _ if text == "-" => {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read).context("--json -")?;
            read
        }
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("--json @{file}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).context("--json: expected an object")
}

/// Overwrites fields with the given flags. A missing flag is null, or an object of nulls.
fn overwrite(body: &mut Map<String, Value>, flags: Map<String, Value>) {
    for (name, value) in flags {
        match (body.get_mut(&name), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(below)), Value::Object(flags)) => overwrite(below, flags),
            (_, Value::Object(flags)) => {
                let mut below = Map::new();
                overwrite(&mut below, flags);
                if !below.is_empty() {
                    body.insert(name, below.into());
                }
            }
            (_, value) => {
                body.insert(name, value);
            }
        }
    }
}

impl UnsetArgs {
    /// Sets these fields of `body` to null.
    pub(super) fn apply_to(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        for field in &self.fields {
            let (parents, last) = field.rsplit_once('.').unwrap_or(("", field));
            let parents = parents.split('.').filter(|name| !name.is_empty());
            let mut here = &mut body;
            for parent in parents {
                let below = here.entry(parent).or_insert_with(|| Map::new().into());
                if !below.is_object() {
                    *below = Map::new().into();
                }
                let Value::Object(below) = below else { unreachable!("it is an object now") };
                here = below;
            }
            here.insert(last.to_owned(), Value::Null);
        }
        body
    }
}

/// Texts separated by commas. An empty argument is an empty list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Texts {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap requires a Result of a value parser")]
pub(super) fn texts(text: &str) -> Result<Texts, Infallible> {
    Ok(Texts::parse(text))
}

/// Reads a secret from the argument, or with `@` from a file, because other users of the machine can see a command
/// line.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let read = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(read.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::tenants::TenantFields;
    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        body: BodyArgs<TenantFields>,
        #[command(flatten)]
        unset: UnsetArgs,
    }

    fn body(arguments: &[&str]) -> anyhow::Result<Value> {
        let cli = Cli::try_parse_from([&["x"], arguments].concat())?;
        Ok(cli.unset.apply_to(cli.body.read()?).into())
    }

    #[test]
    fn flags_overwrite_json_and_flags_that_are_not_given_are_left_out() {
        assert_eq!(body(&[]).unwrap(), json!({}));
        assert_eq!(body(&["--name", "Acme"]).unwrap(), json!({"name": "Acme"}));
        let json = r#"{"name":"Old","quota":{"endpoints":5,"dead_letters":7},"more":[1]}"#;
        let written = body(&["--json", json, "--name", "New", "--endpoints", "9"]).unwrap();
        assert_eq!(written, json!({"name": "New", "quota": {"endpoints": 9, "dead_letters": 7}, "more": [1]}));
    }

    #[test]
    fn a_field_that_is_unset_is_null() {
        let unset =
            body(&["--unset", "name", "--unset", "quota.endpoints", "--dead-letters", "7", "--keys", "8"]).unwrap();
        assert_eq!(unset, json!({"name": null, "quota": {"endpoints": null, "keys": 8, "dead_letters": 7}}));
    }

    #[test]
    fn json_that_is_no_object_is_wrong_usage() {
        for json in ["[]", "{", "7"] {
            assert_eq!(Exit::of(&body(&["--json", json]).unwrap_err()), Exit::Usage, "{json}");
        }
    }
}
