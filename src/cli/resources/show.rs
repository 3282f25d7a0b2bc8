//! What the API answers, for people.

use schemas::MASK;
use serde_json::Value;

use crate::cli::print;

/// What is shown only when it is made.
const ONCE: [&str; 4] = ["secret", "token", "path", "key"];

/// A value in a cell of a table.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Prints an object's fields, one a line, those of objects within it by their paths.
pub(crate) fn fields(value: &Value) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    flatten("", value, &mut lines);
    aligned(&lines)
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() || name.is_empty() => {
            for (key, value) in fields {
                flatten(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{name}[{at}]"), item, lines);
            }
        }
        other => lines.push((name.to_owned(), cell(other))),
    }
}

fn aligned(lines: &[(String, String)]) -> anyhow::Result<()> {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, value) in lines {
        print::line(format!("{name:width$}  {value}").trim_end())?;
    }
    Ok(())
}

/// Those fields of an answer that will never be seen again.
fn once(value: &Value) -> Vec<(String, String)> {
    let shown = ONCE.iter().filter_map(|name| Some((*name, value.get(name)?.as_str()?)));
    shown.filter(|(_, text)| *text != MASK).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// Prints them, and what receivers verify with, which can be seen at any time.
pub(crate) fn once_only(value: &Value) -> anyhow::Result<()> {
    let mut lines = once(value);
    lines.extend(value["public_key"].as_str().map(|key| ("public_key".to_owned(), key.to_owned())));
    aligned(&lines)
}

/// Whether there are any.
pub(crate) fn is_once_only(value: &Value) -> bool {
    !once(value).is_empty()
}

/// Says what that means, beside the results.
pub(crate) fn say_so() {
    anstream::eprintln!("What was made is shown only now: keep it.");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_by_their_paths() {
        let mut lines = Vec::new();
        let value = json!({"id": "crm", "retry": {"schedule": ["5s", "30s"]}, "headers": {}, "name": null,
            "results": [{"a": 1}, {"a": true}]});
        flatten("", &value, &mut lines);
        let expected = [
            ("id", "crm"),
            ("retry.schedule", "5s, 30s"),
            ("headers", "{}"),
            ("name", ""),
            ("results[0].a", "1"),
            ("results[1].a", "true"),
        ];
        assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_masked_secret_is_not_one_that_was_made() {
        assert_eq!(once(&json!({"token": "***", "id": "main"})), []);
        assert_eq!(once(&json!({"token": "in_x", "path": "/v1/in/in_x"})).len(), 2);
    }
}
