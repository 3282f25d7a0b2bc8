//! The body of a change: fields as flags, or as JSON; flags win.

use std::{fmt::Debug, io::Read as _};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};
use service::Exit;

/// The fields of one thing.
#[derive(Debug, clap::Args)]
pub(crate) struct Body<F: clap::Args> {
    #[command(flatten)]
    fields: F,
    /// Any fields: an object, `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
}

/// Fields that are not to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Unset {
    /// A field to remove, such as `name` or `quota.endpoints`; may be repeated.
    #[arg(long = "unset", value_name = "FIELD")]
    fields: Vec<String>,
}

impl<F: clap::Args + Serialize> Body<F> {
    /// As one object.
    ///
    /// # Errors
    /// When `--json` is none.
    pub(crate) fn read(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = self.json.as_deref().map(object).transpose().context(Exit::Usage)?.unwrap_or_default();
        if let Value::Object(fields) = serde_json::to_value(&self.fields)? {
            lay_over(&mut body, fields);
        }
        Ok(body)
    }
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
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

/// The flags that were given: what was not is null, or holds nothing that was.
fn lay_over(body: &mut Map<String, Value>, flags: Map<String, Value>) {
    for (name, value) in flags {
        match (body.get_mut(&name), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(below)), Value::Object(flags)) => lay_over(below, flags),
            (_, Value::Object(flags)) => {
                let mut below = Map::new();
                lay_over(&mut below, flags);
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

impl Unset {
    /// `body`, with null for these fields.
    pub(crate) fn of(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        for field in &self.fields {
            let (parents, last) = field.rsplit_once('.').unwrap_or(("", field));
            let parents = parents.split('.').filter(|name| !name.is_empty());
            let mut here = &mut body;
            for parent in parents {
                let below = here.entry(parent).or_insert_with(|| Map::new().into());
                if !below.is_object() {
                    *below = Map::new().into();
                }
                let Value::Object(below) = below else { unreachable!("it was made one") };
                here = below;
            }
            here.insert(last.to_owned(), Value::Null);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::fields::TenantFields;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        body: Body<TenantFields>,
        #[command(flatten)]
        unset: Unset,
    }

    fn body(arguments: &[&str]) -> anyhow::Result<Value> {
        let line = Line::try_parse_from([&["x"], arguments].concat())?;
        Ok(line.unset.of(line.body.read()?).into())
    }

    #[test]
    fn flags_lie_over_json_and_what_is_not_given_is_left_out() {
        assert_eq!(body(&[]).unwrap(), json!({}));
        assert_eq!(body(&["--name", "Acme"]).unwrap(), json!({"name": "Acme"}));
        let json = r#"{"name":"Old","quota":{"endpoints":5,"dead_letters":7},"more":[1]}"#;
        let laid = body(&["--json", json, "--name", "New", "--endpoints", "9"]).unwrap();
        assert_eq!(laid, json!({"name": "New", "quota": {"endpoints": 9, "dead_letters": 7}, "more": [1]}));
    }

    #[test]
    fn what_is_unset_is_null() {
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
