//! The results of a measurement: a table, a table in Markdown for docs/performance.md, or a JSON object for each row.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::cli::output;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Markdown,
}

/// Rows of results. JSON objects are printed at once, a table is printed at the end.
pub(super) struct Results {
    format: Format,
    table: Table,
}

impl Results {
    pub(super) fn new<const N: usize>(format: Format, headings: [&str; N]) -> Self {
        let mut table = output::table(headings);
        if format == Format::Markdown {
            table.load_style(ASCII_MARKDOWN);
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        Self { format, table }
    }

    /// Adds a result, as an object or as rows with as many cells as there are headings.
    pub(super) fn push<const N: usize>(
        &mut self,
        figures: &impl Serialize,
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return output::json(figures);
        }
        self.table.add_rows(rows);
        Ok(())
    }

    /// Prints the table, if there is one.
    pub(super) fn end(self) -> anyhow::Result<()> {
        if self.format == Format::Json { Ok(()) } else { output::line(self.table) }
    }
}

/// A whole number of any size for people, such as `12,345`.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for people, in MiB.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_number_has_commas() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.6].map(whole), ["0", "999", "1,000", "1,234,568"]);
    }
}
