//! Tenants, the customers of the operator, with their sources and keys.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{Dialect, Endpoint, Id, RetiringHash, RetiringSecret, Secret, Span, Subscription, pattern};

/// The document that the `file:` store reads and `export` writes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The tenants, each with all that belongs to it.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
}

/// A tenant with all that belongs to it: one entry of `tenants` in the YAML of the `file:` store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Id: `[a-z0-9][a-z0-9_-]{0,62}`.
    #[schemars(regex(pattern = pattern::ID))]
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Limits of what the tenant may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How long history is kept, where that is shorter than for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<HistoryRetention>,
    /// Endpoints that deliveries are posted to.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Subscriptions, which say what is posted.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// Sources, where vendors' webhooks come in.
    #[serde(default)]
    pub sources: Vec<SourceConfig>,
    /// Keys of programs that may act for the tenant.
    #[serde(default)]
    pub keys: Vec<Key>,
}

impl Tenant {
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: None,
            quota: None,
            retention: None,
            endpoints: Vec::new(),
            subscriptions: Vec::new(),
            sources: Vec::new(),
            keys: Vec::new(),
        }
    }
}

/// Limits of what a tenant may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Events accepted per second, more than 0. Beyond it the intake answers 429, and events over AMQP wait for up to an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rate_schema")]
    pub events_per_second: Option<f64>,
    /// Largest number of endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u64>,
    /// Largest number of subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u64>,
    /// Largest number of sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<u64>,
    /// Largest number of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Largest number of dead letters that are kept with their bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    /// Bytes of dead letters up to which these are kept with their bodies: of all that are in the log. Without it, the tenant
    /// has a share of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_bytes: Option<u64>,
}

/// How long a tenant's history is kept. What is left out, or longer than for everybody, is as for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryRetention {
    /// Time that events, deliveries and attempts are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Span>,
    /// Time that bodies are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bodies: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    EventsPerSecond,
    Endpoints,
    Subscriptions,
    Sources,
    Keys,
    DeadLetters,
    DeadLetterBytes,
}

/// The schema of a rate. What a tenant uses now, which has the same type in answers, may be 0.
fn rate_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<Option<f64>>();
    if generator.contract().is_deserialize() {
        schema.insert("exclusiveMinimum".to_owned(), 0.into());
    }
    schema
}

impl QuotaName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events_per_second",
            Self::Endpoints => "endpoints",
            Self::Subscriptions => "subscriptions",
            Self::Sources => "sources",
            Self::Keys => "keys",
            Self::DeadLetters => "dead_letters",
            Self::DeadLetterBytes => "dead_letter_bytes",
        }
    }
}

/// Where a vendor's webhooks come in: `POST /v1/in/<token>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Id, unique within the tenant.
    #[schemars(regex(pattern = pattern::ID))]
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Dialect of the vendor's bodies.
    pub dialect: Dialect,
    /// Channel of events whose body names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
    /// Secret part of the URL, of 8 to 256 characters.
    #[schemars(schema_with = "token_schema")]
    pub token: Secret,
    /// The previous token, while it is still valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_token: Option<RetiringSecret>,
    /// Whether the vendor's body is kept, for endpoints of format `original`.
    #[serde(default = "yes")]
    pub keep_original: bool,
    /// Key that the sender must send as `X-N8N-API-KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::SECRET_HEADER_VALUE))]
    pub n8n_api_key: Option<Secret>,
}

fn yes() -> bool {
    true
}

fn token_schema(generator: &mut SchemaGenerator) -> Schema {
    let schema = generator.subschema_for::<Secret>();
    pattern::in_requests(schema, generator, pattern::TOKEN)
}

impl SourceConfig {
    /// Fewest characters of a token. A token is all that protects a source whose sender presents no key, and a shorter one
    /// could be guessed.
    pub const SHORTEST_TOKEN: usize = 8;
    /// Most characters of a token, which fit one line of a log and any vendor's form field.
    pub const LONGEST_TOKEN: usize = 256;
}

/// A channel's id in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a whole number or a text")]
pub enum ChannelId {
    Integer(i64),
    Text(#[schemars(length(min = 1))] String),
}

impl From<&ChannelId> for Id {
    fn from(id: &ChannelId) -> Self {
        match id {
            ChannelId::Integer(number) => Self::from(*number),
            ChannelId::Text(text) => Self::from_text(text.as_str()),
        }
    }
}

/// A key with which a program acts for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Id, unique within the tenant.
    #[schemars(regex(pattern = pattern::ID))]
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the key allows.
    #[schemars(length(min = 1))]
    pub scopes: Vec<Scope>,
    /// `sha256:<64 hex digits>` of the key.
    pub hash: KeyHash,
    /// Hash of the previous key, while that is still valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_hash: Option<RetiringHash>,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish events.
    Publish,
    /// Look.
    Read,
    /// Change.
    Manage,
}

/// The SHA-256 of a key: safe for a key of full entropy, and suitable for lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(key: &str) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(key.as_bytes()).into())
    }
}

impl TryFrom<String> for KeyHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let hex = text.strip_prefix("sha256:")?;
            let mut hash = [0; 32];
            if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            for (at, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
            }
            Some(Self(hash))
        };
        parse().ok_or_else(|| "expected `sha256:` and 64 hex digits".to_owned())
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        format!("sha256:{}", crate::hex(&hash.0))
    }
}

impl JsonSchema for KeyHash {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyHash".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_documented() {
        let text = r#"{"tenants":[{"id":"acme","name":"Acme",
            "endpoints":[{"id":"crm","url":"https://crm.example/hooks","format":"whazing","n8n_api_key":"k",
                "retry":{"schedule":["5s","30s"],"max_age":"72h"},"headers":{"x-a":"b","x-s":{"secret":"S3CRET"}}}],
            "subscriptions":[{"id":"bot-12","endpoint_id":"crm","queue_ids":[12],"event_types":["message.*"],"start_on_transfer":true}],
            "sources":[{"id":"main","dialect":"whazing","channel_id":7,"token":"S3CRET"}],
            "keys":[{"id":"backend","scopes":["publish"],"hash":"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}]}]}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        let tenant = &configuration.tenants[0];
        assert_eq!(tenant.endpoints[0].timeout, crate::Span(std::time::Duration::from_secs(15)));
        assert_eq!(tenant.endpoints[0].headers["x-s"].reveal(), "S3CRET");
        assert!(tenant.sources[0].keep_original);
        assert_eq!(tenant.keys[0].hash, KeyHash::of("foo"));
        let shown = serde_json::to_string(&configuration).unwrap() + &format!("{configuration:?}");
        assert!(!shown.contains("S3CRET"), "{shown}");
    }

    #[test]
    fn unknown_keys_and_malformed_hashes_are_refused() {
        for text in [r#"{"tenant":[]}"#, r#"{"tenants":[{"id":"a","endpoint":[]}]}"#] {
            assert!(serde_json::from_str::<Configuration>(text).is_err(), "{text}");
        }
        for hash in ["", "sha256:", "2c26", "sha256:zz26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"] {
            assert!(KeyHash::try_from(hash.to_owned()).is_err(), "{hash}");
        }
    }
}
