//! An endpoint's own headers: which ones it may have, and how many.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{HeaderText, pattern};

/// Headers that belong to one connection, not to a request (RFC 9110, section 7.6.1), with obsolete ones that proxies
/// still obey.
pub const HOP_BY_HOP: [&str; 10] = [
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
pub const OURS: [&str; 8] = [
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
pub const OF_ONE_REQUEST: [&str; 7] =
    ["content-digest", "content-md5", "date", "digest", "repr-digest", "signature", "signature-input"];

/// Most headers, and most bytes of them. Receivers' limits begin at 8 KiB for all headers of a request (nginx,
/// Node.js).
pub const MOST: usize = 50;
pub const MOST_BYTES: usize = 6 * 1024;

/// Prefixes of carteiro's own headers, which receivers trust for signatures and deduplication.
pub const OUR_PREFIXES: [&str; 2] = ["webhook-", "carteiro-"];

/// The schema of an endpoint's headers by name. A schema has no patterns without regard to case, so it names the forbidden
/// ones in lower case only.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let texts = generator.subschema_for::<HeaderText>();
    let forbidden: Vec<_> = [&HOP_BY_HOP[..], &OURS, &OF_ONE_REQUEST].concat();
    let prefixes = format!("^({})", OUR_PREFIXES.join("|"));
    json_schema!({
        "type": "object",
        "additionalProperties": texts,
        "maxProperties": MOST,
        "propertyNames": {"pattern": pattern::HEADER_NAME, "not": {"anyOf": [{"enum": forbidden}, {"pattern": prefixes}]}}
    })
}
