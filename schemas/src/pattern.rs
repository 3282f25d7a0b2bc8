//! Patterns of the texts in requests, for their schemas. `store::validate` checks the same, and says what is wrong.

use schemars::{Schema, SchemaGenerator};

/// Id of a tenant, or of what an administrator names.
pub const ID: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";

/// Id of an endpoint or a subscription: as [`ID`], or one that belongs to the view of a channel, an integration or a queue,
/// where the platform's id is escaped.
pub const ID_OR_VIEW: &str = "^([a-z0-9][a-z0-9_-]{0,62}|(channel|integration|queue)-\
    ([^\\s\\u0000-\\u001f\\u007f-\\u009f.*#%]|%[0-9A-Fa-f]{2}){1,255})$";

/// Id of an event.
pub const EVENT_ID: &str = "^[A-Za-z0-9-]{1,64}$";

/// Token in the path of a source's URL.
pub const TOKEN: &str = "^[A-Za-z0-9._~=+@:,!$*-]{8,256}$";

/// Signing secret: the base64 of 24 to 64 bytes (`v1`), or of an ed25519 key, with or without its public one (`v1a`).
pub const SIGNING_SECRET: &str = "^(whsec_([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{4}([A-Za-z0-9+/][AQgw]==)?|\
    [A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?|\
    whsk_([A-Za-z0-9+/]{4}){10}([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|([A-Za-z0-9+/]{4}){11}[A-Za-z0-9+/][AQgw]==))$";

/// Name of an HTTP header (RFC 9110, section 5.6.2).
pub const HEADER_NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Value of an HTTP header (RFC 9110, section 5.5), without the obsolete bytes above ASCII.
pub const HEADER_VALUE: &str = "^([!-~]([\\t -~]*[!-~])?)?$";

/// Value of an HTTP header that is not empty.
pub const SECRET_HEADER_VALUE: &str = "^[!-~]([\\t -~]*[!-~])?$";

/// URL to which HTTP requests are sent.
pub const HTTP_URL: &str = "^[Hh][Tt][Tt][Pp][Ss]?://";

/// Entity tags of a condition (RFC 9110, section 8.8.3), or `*`.
pub const ENTITY_TAGS: &str = "^(\\*|(W/)?\"[!#-~]*\"([ \\t]*,[ \\t]*(W/)?\"[!#-~]*\")*)$";

/// Position in a log.
pub const POSITION: &str = "^(0|[1-9][0-9]{0,18})$";

/// Adds a pattern to the schema of a text in requests. Answers may have other texts, such as the mask of a secret.
pub(crate) fn in_requests(mut schema: Schema, generator: &SchemaGenerator, pattern: &str) -> Schema {
    if generator.contract().is_deserialize() {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    schema
}
