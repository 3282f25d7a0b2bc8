//! What the patterns in the schemas allow, the checks accept.

use proptest::{prelude::*, string::string_regex};
use schemas::{Endpoint, RetryPolicy, Rotation, Span, pattern};
use serde_json::{Value, json};

use super::{a_source, a_tenant, changed, paths, source, tenants, with_json};

/// Texts that a pattern allows.
fn texts(pattern: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
}

/// Durations that the schema of a property allows.
fn durations(pointer: &str) -> impl Strategy<Value = String> + use<> {
    let schema = schemars::schema_for!(Endpoint).to_value();
    let pattern = schema.pointer(pointer).and_then(|schema| schema["pattern"].as_str()).expect("a pattern");
    texts(pattern)
}

fn endpoint_with(name: &str, value: Value) -> Vec<String> {
    with_json(&Value::Object([(name.to_owned(), value)].into_iter().collect()))
}

proptest! {
    #[test]
    fn ids_that_match_are_accepted(id in texts(pattern::ID), ownable in texts(pattern::ID_OR_VIEW)) {
        prop_assert_eq!(paths(&tenants(&[a_tenant(&id)])), [""; 0]);
        // A pattern counts characters, and the check bytes.
        prop_assume!(ownable.len() <= 255);
        prop_assert_eq!(changed(|endpoint| endpoint.id = ownable), [""; 0]);
    }

    #[test]
    fn tokens_and_headers_that_match_are_accepted(
        token in texts(pattern::TOKEN),
        name in texts(pattern::HEADER_NAME),
        value in texts(pattern::HEADER_VALUE),
        secret in texts(pattern::SECRET_HEADER_VALUE),
    ) {
        prop_assume!(secret != schemas::MASK && token != schemas::MASK);
        prop_assert_eq!(paths(&source(&a_source(&token))), [""; 0]);
        prop_assert_eq!(endpoint_with("headers", json!({format!("x-{name}"): value})), [""; 0]);
        prop_assert_eq!(endpoint_with("n8n_api_key", json!(secret)), [""; 0]);
    }

    #[test]
    fn signing_secrets_that_match_are_accepted(secret in texts(pattern::SIGNING_SECRET)) {
        let signature = if secret.starts_with("whsk_") { "v1a" } else { "v1" };
        // The halves of a private key with its public one belong together, which no pattern can say.
        prop_assume!(!(secret.starts_with("whsk_") && secret.len() > 60));
        prop_assert_eq!(with_json(&json!({"secrets": [secret], "signature": signature})), [""; 0]);
    }

    #[test]
    fn durations_that_match_are_accepted(
        timeout in durations("/properties/timeout"),
        step in durations("/$defs/RetryPolicy/properties/schedule/items"),
        max_age in durations("/$defs/RetryPolicy/properties/max_age"),
    ) {
        let retry = json!({"schedule": [step], "max_age": max_age});
        prop_assert_eq!(with_json(&json!({"timeout": timeout, "retry": retry})), [""; 0]);
    }
}

#[test]
fn the_bounds_of_durations_match() {
    let pattern = |shortest, longest| {
        let mut generator = schemars::SchemaGenerator::default();
        Span::schema_between(&mut generator, shortest, longest).to_value()["pattern"].as_str().unwrap().to_owned()
    };
    assert!(pattern(RetryPolicy::SHORTEST_STEP, RetryPolicy::LONGEST_WAIT).contains("[1-2][0-9]|30)d"));
    assert!(pattern(Span::seconds(0), Rotation::LONGEST_OVERLAP).contains("([0-9]|"));
}
