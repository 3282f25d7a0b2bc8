//! How an endpoint is, as answers show it.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{OutcomeClass, time::Moment};

/// How an endpoint is, as far as is known without a history: from its attempts since its deliverers started, or since it
/// was changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
// Generators of clients call the type of the field `health` of an endpoint `EndpointHealth`.
#[schemars(rename = "HealthOfEndpoint")]
pub struct EndpointHealth {
    /// `healthy` if its last delivery succeeded, `failing` if it failed, `unknown` before there was one.
    pub state: HealthState,
    /// Time of the first failure after the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Time of the last success; of one that is healthy, to within half a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<Moment>,
    /// Attempts that failed since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u64>,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Deliveries that are known to wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Time of the next attempt, if one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Moment>,
}

/// What is known of an endpoint's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Healthy,
    Failing,
    #[default]
    Unknown,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LastError {
    /// Begin of the attempt.
    pub at: Moment,
    /// Class of the outcome.
    pub outcome: OutcomeClass,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of the answer, or why there was none.
    pub excerpt: Option<String>,
}

/// Adds the read-only property `health` to the schema of what is posted to an endpoint.
pub fn show_health(schema: &mut Schema) {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut health = settings.into_generator().subschema_for::<EndpointHealth>();
    health.insert("readOnly".to_owned(), json!(true));
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.insert("health".to_owned(), health.into());
    }
}
