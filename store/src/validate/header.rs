//! Checks an endpoint's own headers: HTTP must allow them, and neither carteiro nor the connection may set them.

use std::collections::{BTreeMap, HashSet};

use schemas::HeaderText;

use crate::invalid_field::ValidationReport;

/// Headers that belong to one connection, not to a request (RFC 9110, section 7.6.1), with obsolete ones that proxies
/// still obey.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that the request itself determines: its target, body and sender, and the answers that it accepts.
const OURS: [&str; 8] = [
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "expect",
    "host",
    "user-agent",
];

/// Headers that differ in each request, so that one value for all would be wrong (RFC 9110, section 6.6.1; RFC 9530;
/// RFC 9421).
const OF_ONE_REQUEST: [&str; 7] =
    ["content-digest", "content-md5", "date", "digest", "repr-digest", "signature", "signature-input"];

/// Most headers, and most bytes of them. Receivers' limits begin at 8 KiB for all headers of a request (nginx,
/// Node.js).
const MOST: usize = 50;
const MOST_BYTES: usize = 6 * 1024;

/// Prefixes of carteiro's own headers, which receivers trust for signatures and deduplication.
const OUR_PREFIXES: [&str; 2] = ["webhook-", "carteiro-"];

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
