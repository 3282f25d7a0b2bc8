//! Checks ids: `[a-z0-9][a-z0-9_-]{0,62}`, and those that belong to the views of channels, integrations and queues.

use schemas::View;

use crate::invalid_field::ValidationReport;

/// Checks an id that no view owns.
pub(super) fn check(id: &str, report: &mut ValidationReport) {
    if !is_plain(id) {
        report.add("expected up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit");
    }
}

/// Checks the id of an endpoint or subscription, which a view may own.
pub(super) fn check_ownable(id: &str, report: &mut ValidationReport) {
    if !View::owns_valid(id) {
        check(id, report);
    }
}

fn is_plain(id: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = id.as_bytes();
    bytes.first().is_some_and(|&first| lower(first))
        && bytes.len() <= 63
        && bytes.iter().all(|&byte| lower(byte) || matches!(byte, b'_' | b'-'))
}
