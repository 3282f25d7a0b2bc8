//! Tables for people, as wide as what is in them.

use comfy_table::{LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};

/// An empty table with a heading.
pub(super) fn table<const N: usize>(heading: [&str; N]) -> Table {
    of(heading)
}

/// The same, of as many columns as there are.
pub(super) fn of<'a>(heading: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none())).set_header(heading);
    table
}
