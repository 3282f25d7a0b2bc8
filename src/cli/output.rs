//! The commands' output: results on stdout, as a table or as lines of JSON, and progress on stderr. Colours appear only
//! on terminals. A reader that closes the pipe (`  head`) causes an error to return, not a panic as with `println!`.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use service::Exit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    // clap would print doc comments here in the help of every command.
    #[default]
    Table,
    Json,
}

/// The reader of stdout has closed it. The process then ends with success.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the results any more")]
pub(super) struct StdoutClosed;

pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        result => Ok(result?),
    }
}

pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

pub(super) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Prints a result as JSON, or as a sentence.
pub(super) fn result(output: Output, result: &impl Serialize, sentence: impl FnOnce() -> String) -> anyhow::Result<()> {
    match output {
        Output::Json => json(result),
        Output::Table => line(sentence()),
    }
}

/// Prints a warning on stderr, yellow at a terminal.
pub(super) fn warning(text: impl Display) {
    let style = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    anstream::eprintln!("{style}warning{style:#}: {text}");
}

/// A list of items, printed as one table at the end, or as one line of JSON per item at once.
pub(super) struct List {
    output: Output,
    rows: Table,
}

impl List {
    pub(super) fn new<'a>(output: Output, headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self { output, rows: table(headings) }
    }

    /// Adds an item. The row is built only for a table.
    pub(super) fn push(&mut self, item: &impl Serialize, row: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
        match self.output {
            Output::Json => json(item),
            Output::Table => {
                self.rows.add_row(row());
                Ok(())
            }
        }
    }

    /// Prints the table, if there is one.
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

pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) if !fields.is_empty() => {
            let mut lines = Vec::new();
            flatten("", value, &mut lines);
            lines.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Prints the fields of an object, one per line. The name of a nested field is its path.
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

pub(super) fn aligned(lines: &[(String, String)]) -> anyhow::Result<()> {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, value) in lines {
        line(format!("{name:width$}  {value}").trim_end())?;
    }
    Ok(())
}

/// A progress bar of `total` steps on stderr, which indicatif hides unless stderr is a terminal.
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
    fn an_object_in_a_cell_is_a_list_of_its_fields() {
        assert_eq!(cell(&json!({"endpoints": 20, "rate": {"per_second": 50}})), "endpoints=20, rate.per_second=50");
        assert_eq!((cell(&json!({})), cell(&json!(null))), ("{}".to_owned(), String::new()));
    }

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
