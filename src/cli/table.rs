//! Tables for people: as wide as the terminal, plain where there is none.

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with a heading.
pub(super) fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heading);
    table
}
