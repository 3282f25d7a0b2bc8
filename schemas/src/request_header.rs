//! An endpoint's own headers: which ones it may have, and how many.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

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

/// An endpoint's headers by name, for their schema. It has no patterns without regard to case, so it names the forbidden ones
/// in lower case only.
pub(crate) struct RequestHeaders;

impl JsonSchema for RequestHeaders {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut text = generator.subschema_for::<HeaderText>();
        if generator.contract().is_deserialize() {
            let removed = json!({"type": "null", "description": "Removes a secret value, which would be kept."});
            text = json_schema!({"anyOf": [text, removed]});
        }
        let forbidden = [&HOP_BY_HOP[..], &OURS, &OF_ONE_REQUEST].concat();
        let prefixes = format!("^({})", OUR_PREFIXES.join("|"));
        json_schema!({
            "description": "Headers by name.",
            "type": "object",
            "additionalProperties": text,
            "maxProperties": MOST,
            "propertyNames": {"pattern": pattern::HEADER_NAME, "not": {"anyOf": [{"enum": forbidden}, {"pattern": prefixes}]}}
        })
    }
}
