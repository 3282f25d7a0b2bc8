//! Where deliveries are posted, and how.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Format, FormatOptions, Secret, SigningSecret, Span, pattern,
    request_header::RequestHeaders,
    signature::{Signature, SigningKey},
    time::Moment,
};

/// Where deliveries are posted: URL, secrets and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = show_derived)]
pub struct Endpoint {
    /// Id, unique within the tenant.
    #[schemars(regex(pattern = pattern::ID_OR_VIEW))]
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the receiver, `http` or `https`, without user or password.
    #[schemars(regex(pattern = pattern::HTTP_URL), extend("format" = "uri"))]
    pub url: String,
    /// Format of the bodies that are posted.
    #[serde(default)]
    pub format: Format,
    /// Options of the format.
    #[serde(default)]
    pub format_options: FormatOptions,
    /// Headers that are sent with each request, of 6 KiB in all. A value marked as secret is never shown again.
    #[serde(default)]
    #[schemars(with = "RequestHeaders")]
    pub headers: BTreeMap<String, HeaderText>,
    /// Value of the header `X-N8N-API-KEY`, sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::SECRET_HEADER_VALUE))]
    pub n8n_api_key: Option<Secret>,
    /// Signing secrets, newest first: `whsec_…` signs as `v1`, `whsk_…` as `v1a`. Each signs every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = Self::MAX_SECRETS))]
    pub secrets: Vec<SigningSecret>,
    /// Kind of the newest secret, and of the one that is made when none is given.
    #[serde(default)]
    pub signature: Signature,
    /// Longest duration of a request, from connecting to the end of the answer: 100 ms to 60 s.
    #[serde(default = "default_timeout")]
    #[schemars(schema_with = "timeout_schema")]
    pub timeout: Span,
    /// When to try again. Left out: the default of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Largest rate of attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Largest number of attempts at once.
    #[serde(default = "default_max_in_flight")]
    #[schemars(range(min = 1))]
    pub max_in_flight: u32,
    /// Largest number of waiting deliveries. Further ones become dead letters with the reason `overflow`.
    #[serde(default = "default_max_backlog")]
    #[schemars(range(min = 1))]
    pub max_backlog: u64,
    /// Whether deliveries are posted, end, or wait.
    #[serde(default)]
    pub state: EndpointState,
    /// Why the endpoint is disabled. One that is active or paused has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// Deliveries accepted at this time or earlier are cancelled: when their turn comes, they become dead letters with the
    /// reason `cancelled`. A replay counts as accepted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_before: Option<Moment>,
}

/// Adds the properties that answers of the API add: `public_key`, from the secrets, and `health`.
fn show_derived(schema: &mut Schema) {
    let description =
        "Public key that verifies the newest `v1a` signatures, `whpk_…`. It may be given to anyone. Read only.";
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        let shown = json!({"description": description, "type": "string", "readOnly": true});
        fields.insert("public_key".to_owned(), shown);
    }
    crate::show_health(schema);
}

fn default_timeout() -> Span {
    Span::seconds(15)
}

fn timeout_schema(generator: &mut SchemaGenerator) -> Schema {
    Span::schema_between(generator, Endpoint::SHORTEST_TIMEOUT, Endpoint::LONGEST_TIMEOUT)
}

fn default_max_in_flight() -> u32 {
    Endpoint::MAX_IN_FLIGHT
}

fn default_max_backlog() -> u64 {
    Endpoint::MAX_BACKLOG
}

impl Endpoint {
    /// True when deliveries accepted at a time (unix milliseconds) are cancelled.
    pub fn has_cancelled(&self, accepted_at: u64) -> bool {
        self.cancelled_before.is_some_and(|Moment(until)| accepted_at <= until)
    }

    /// Public key that verifies the newest `v1a` signatures, `whpk_…`. It may be given to anyone.
    pub fn public_key(&self) -> Option<String> {
        self.secrets.iter().find_map(|secret| SigningKey::parse(secret.secret().reveal()).ok()?.public())
    }

    /// Longest timeout of a request. A slower receiver would hold a slot that others wait for.
    pub const LONGEST_TIMEOUT: Span = Span::seconds(60);
    /// Shortest timeout of a request. Below it, a handshake across an ocean already fails.
    pub const SHORTEST_TIMEOUT: Span = Span::milliseconds(100);

    const MAX_IN_FLIGHT: u32 = 64;
    /// Largest number of waiting deliveries of an endpoint that does not say.
    pub const MAX_BACKLOG: u64 = 100_000;
}

/// Whether deliveries are posted to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// Deliveries are posted.
    #[default]
    Active,
    /// Deliveries become dead letters, which can be replayed.
    Disabled,
    /// Deliveries wait, and none expires meanwhile.
    Paused,
}

/// A header's value: plain or secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "expected a text, or {secret: text}")]
pub enum HeaderText {
    /// A value that is shown.
    Plain(#[schemars(regex(pattern = pattern::HEADER_VALUE))] String),
    /// A value that is masked.
    #[schemars(title = "SecretHeader")]
    Secret {
        /// The value.
        #[schemars(regex(pattern = pattern::SECRET_HEADER_VALUE))]
        secret: Secret,
    },
}

impl HeaderText {
    /// The text itself. Only the request that sends it may use it.
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret { secret } => secret.reveal(),
        }
    }

    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Plain(_) => None,
            Self::Secret { secret } => Some(secret),
        }
    }
}

/// Largest rate of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Attempts per second, more than 0.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub per_second: f64,
}

/// When to try again, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Waits after the first failure, the second, and so on: 1 s to 30 d each, which is varied by ± 20 %.
    #[serde(default = "default_schedule")]
    #[schemars(schema_with = "schedule_schema")]
    pub schedule: Vec<Span>,
    /// No attempt is made later than this after acceptance, whatever the schedule says: 30 d at most.
    #[serde(default = "default_max_age")]
    #[schemars(schema_with = "max_age_schema")]
    pub max_age: Span,
}

/// Ten steps, 56.7 hours: long enough for an outage over a weekend.
fn default_schedule() -> Vec<Span> {
    [5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200, 43_200, 86_400].map(Span::seconds).into()
}

fn default_max_age() -> Span {
    Span::hours(72)
}

impl RetryPolicy {
    /// Shortest step of a schedule. The first waiting time is rounded up to this, so a shorter step would not be kept.
    pub const SHORTEST_STEP: Span = Span::seconds(1);
    /// Most steps of a schedule. The default has ten, so more than this is a mistake.
    pub const MOST_STEPS: usize = 50;
    /// Longest step, and longest age of a delivery. No one waits longer for a receiver, and every clock can represent it.
    pub const LONGEST_WAIT: Span = Span::days(30);
    /// Shortest age at which a delivery expires.
    pub const SHORTEST_AGE: Span = Span::milliseconds(1);
}

fn schedule_schema(generator: &mut SchemaGenerator) -> Schema {
    let step = Span::schema_between(generator, RetryPolicy::SHORTEST_STEP, RetryPolicy::LONGEST_WAIT);
    json_schema!({"type": "array", "items": step, "maxItems": RetryPolicy::MOST_STEPS})
}

fn max_age_schema(generator: &mut SchemaGenerator) -> Schema {
    Span::schema_between(generator, RetryPolicy::SHORTEST_AGE, RetryPolicy::LONGEST_WAIT)
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { schedule: default_schedule(), max_age: default_max_age() }
    }
}
