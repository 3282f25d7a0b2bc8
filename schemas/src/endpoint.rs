//! Where deliveries are posted, and how.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Format, FormatOptions, RetryPolicy, Secret, SigningSecret, Span,
    signature::{Signature, SigningKey},
    time::Moment,
};

/// Where deliveries are posted: url, secrets, limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = show_public_key)]
pub struct Endpoint {
    /// Its own id, unique in the tenant.
    pub id: String,
    /// As shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `http` or `https`; without user or password.
    pub url: String,
    /// The shape of what it gets.
    #[serde(default)]
    pub format: Format,
    /// Fine points of the shape.
    #[serde(default)]
    pub format_options: FormatOptions,
    /// Its own headers. A value marked secret is never shown again.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderText>,
    /// Sent as `X-N8N-API-KEY`, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n8n_api_key: Option<Secret>,
    /// Signing secrets, newest first: `whsec_…` signs as `v1`, `whsk_…` as `v1a`. Each signs every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SigningSecret>,
    /// Of which kind the newest secret is, and the one that is made where none is given.
    #[serde(default)]
    pub signature: Signature,
    /// From connecting to the answer's end.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// When to try again; the configuration's default where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// At most so many attempts in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// At most so many attempts at once.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: u32,
    /// At most so many deliveries waiting; what is beyond becomes a dead letter `overflow`.
    #[serde(default = "default_max_backlog")]
    pub max_backlog: u64,
    /// Whether anything is posted.
    #[serde(default)]
    pub state: EndpointState,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// What was accepted then or earlier is not delivered any more: it ends as dead letter `cancelled`, once its turn
    /// comes. A replay counts as accepted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_before: Option<Moment>,
}

/// Answers have it; it is derived, and so no field.
fn show_public_key(schema: &mut Schema) {
    let description = "What verifies its newest `v1a` signatures, `whpk_…`, to be handed to anyone. Read only.";
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        let shown = json!({"description": description, "type": "string", "readOnly": true});
        fields.insert("public_key".to_owned(), shown);
    }
}

fn default_timeout() -> Span {
    Span(std::time::Duration::from_secs(15))
}

fn default_max_in_flight() -> u32 {
    Endpoint::MAX_IN_FLIGHT
}

fn default_max_backlog() -> u64 {
    Endpoint::MAX_BACKLOG
}

impl Endpoint {
    /// Whether what was accepted at a time (unix ms) is not to be delivered any more.
    pub fn has_cancelled(&self, accepted_at: u64) -> bool {
        self.cancelled_before.is_some_and(|Moment(until)| accepted_at <= until)
    }

    /// What verifies its newest `v1a` signatures, `whpk_…`, to be handed to anyone.
    pub fn public_key(&self) -> Option<String> {
        self.secrets.iter().find_map(|secret| SigningKey::parse(secret.secret().reveal()).ok()?.public())
    }

    /// `max_in_flight` where it is left out.
    pub const MAX_IN_FLIGHT: u32 = 64;
    /// `max_backlog` where it is left out.
    pub const MAX_BACKLOG: u64 = 100_000;
}

/// Whether an endpoint is posted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// It is.
    #[default]
    Active,
    /// It is not: its deliveries become dead letters, which can be replayed.
    Disabled,
}

/// A header's value: shown, or secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "expected a text, or {secret: text}")]
pub enum HeaderText {
    /// Shown.
    Plain(String),
    /// Masked.
    Secret {
        /// The value.
        secret: Secret,
    },
}

impl HeaderText {
    /// The text itself, to be sent.
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret { secret } => secret.reveal(),
        }
    }

    /// The value when it is secret.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Plain(_) => None,
            Self::Secret { secret } => Some(secret),
        }
    }
}

/// At most so many attempts in a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Attempts per second.
    pub per_second: f64,
}
