//! What commands print: results on stdout, as a table or as lines of JSON, and progress on stderr. Colours appear only
//! where a terminal shows them. A reader that leaves early (`| head`) is an error to return and, unlike with
//! `println!`, no panic.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use clap::ValueEnum;
use comfy_table::{LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use service::Exit;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    // Without doc comments: clap would print them in the help of every command.
    #[default]
    Table,
    Json,
}

/// The reader of stdout has closed it. The process then ends as if it were done.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the results any more")]
pub(super) struct StdoutClosed;

/// Prints a line.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        result => Ok(result?),
    }
}

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Prints a value as indented JSON.
pub(super) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A list of items, printed as one table at its end, or each item at once as a line of JSON.
pub(super) struct List {
    output: Output,
    rows: Table,
}

impl List {
    pub(super) fn new<'a>(output: Output, headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self { output, rows: table(headings) }
    }

    /// Adds an item. The row is made only where a table is printed.
    pub(super) fn push(&mut self, item: &impl Serialize, row: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
        match self.output {
            Output::Json => json(item),
            Output::Table => {
                self.rows.add_row(row());
                Ok(())
            }
        }
    }

    /// Prints the table, where there is one.
    pub(super) fn end(self) -> anyhow::Result<Exit> {
        if self.output == Output::Table {
            line(self.rows)?;
        }
        Ok(Exit::Done)
    }
}

/// An empty table with headings, as wide as its content.
pub(super) fn table<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none())).set_header(headings);
    table
}

/// A JSON value as the text of a table's cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Prints the fields of an object, one a line; a field of an object within it has its path as its name.
pub(super) fn fields(value: &Value) -> anyhow::Result<()> {
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

/// Prints names and values in two columns.
pub(super) fn aligned(lines: &[(String, String)]) -> anyhow::Result<()> {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, value) in lines {
        line(format!("{name:width$}  {value}").trim_end())?;
    }
    Ok(())
}

/// A progress bar of `total` steps on stderr. indicatif hides it where stderr is no terminal.
pub(super) fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {eta}");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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
}
