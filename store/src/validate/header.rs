//! Checks an endpoint's own headers: HTTP must allow them, and neither carteiro nor the connection may set them.

use std::collections::{BTreeMap, HashSet};

use schemas::{
    HeaderText,
    request_header::{HOP_BY_HOP, MOST, MOST_BYTES, OF_ONE_REQUEST, OUR_PREFIXES, OURS},
};

use crate::invalid_field::ValidationReport;

pub(super) fn check(headers: &BTreeMap<String, HeaderText>, report: &mut ValidationReport) {
    if headers.len() > MOST {
        report.add(format!("has more than {MOST}"));
    }
    if headers.iter().map(|(name, text)| name.len() + text.reveal().len()).sum::<usize>() > MOST_BYTES {
        report.add(format!("takes more than {MOST_BYTES} bytes: receivers refuse such requests"));
    }
    let mut seen = HashSet::new();
    for (name, text) in headers {
        report.key(name.clone(), |report| {
            let lower = name.to_ascii_lowercase();
            check_name(&lower, report);
            check_value(text.reveal(), report);
            if !seen.insert(lower) {
                report.add("is given twice: names of headers have no case");
            }
        });
    }
}

fn check_name(lower: &str, report: &mut ValidationReport) {
    // RFC 9110, 5.6.2: token.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if lower.is_empty() || !lower.bytes().all(token) {
        report.add("is no name of a header");
    } else if HOP_BY_HOP.contains(&lower) {
        report.add("cannot be set: it belongs to the connection");
    } else if OURS.contains(&lower) || OUR_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        report.add("cannot be set: carteiro sets it");
    } else if OF_ONE_REQUEST.contains(&lower) {
        report.add("cannot be set: it is not the same for all requests");
    }
}

/// Checks a header's value (RFC 9110, section 5.5), without the obsolete bytes above ASCII.
pub(super) fn check_value(text: &str, report: &mut ValidationReport) {
    if !text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        report.add("expected visible ASCII characters, spaces and tabs");
    } else if text.trim_ascii() != text {
        // Receivers strip outer whitespace (RFC 9110, section 5.5), and would compare another value.
        report.add("must not begin or end with a space or tab");
    }
}
