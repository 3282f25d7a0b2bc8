//! Checks ids: `[a-z0-9][a-z0-9_-]{0,62}`, and those that belong to the views of channels, integrations and queues.

use crate::invalid_field::ValidationReport;

/// Prefixes of the views' ids. The platform's id follows, escaped as in a routing key.
const OWNED: [&str; 3] = ["channel-", "integration-", "queue-"];

/// Longest platform's id, escaped, in bytes. Ids are numbers, UUIDs or phone addresses, which are all far shorter.
const LONGEST_OWNED: usize = 255;

/// Checks an id that no view owns.
pub(super) fn check(id: &str, report: &mut ValidationReport) {
    if !is_plain(id) {
        report.add("expected up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit");
    }
}

/// Checks the id of an endpoint or subscription, which a view may own.
pub(super) fn check_ownable(id: &str, report: &mut ValidationReport) {
    if !OWNED.iter().any(|prefix| id.strip_prefix(prefix).is_some_and(is_escaped)) {
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

/// True when a text is as `schemas::escape` leaves it: nothing to escape, and `%` only before two hex digits.
fn is_escaped(text: &str) -> bool {
    let whole = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    !text.is_empty()
        && text.len() <= LONGEST_OWNED
        && schemas::escape(&text.replace('%', "")).len() == text.replace('%', "").len()
        && text.split('%').skip(1).all(whole)
}
