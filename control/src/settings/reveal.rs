//! What is configured, as JSON with its secrets: the base onto which a body is merged, and what `export` may write.

use schemas::{Endpoint, HeaderText, Key, RetiringSecret, Secret, SigningSecret, SourceConfig, Subscription};
use serde::Serialize;
use serde_json::Value;

use super::merge::Object;

/// Something that can be written out with its secrets.
pub(crate) trait Reveal: Serialize {
    /// Puts secrets where their masks are.
    fn reveal_into(&self, object: &mut Object);
}

/// As JSON, secrets and all. Never for an answer, but for the operator's `export?with_secrets=true`.
pub(crate) fn reveal(item: &impl Reveal) -> Object {
    // Plain structs with text keys: their serialization cannot fail.
    let Ok(Value::Object(mut object)) = serde_json::to_value(item) else { return Object::new() };
    item.reveal_into(&mut object);
    object
}

fn put(object: &mut Object, name: &str, secret: Option<&Secret>) {
    if let Some(secret) = secret {
        object.insert(name.to_owned(), secret.reveal().into());
    }
}

impl Reveal for Endpoint {
    fn reveal_into(&self, object: &mut Object) {
        put(object, "n8n_api_key", self.n8n_api_key.as_ref());
        object.insert("secrets".to_owned(), self.secrets.iter().map(SigningSecret::reveal).collect());
        let header = |(name, text): (&String, &HeaderText)| {
            let value = match text {
                HeaderText::Plain(text) => Value::from(text.as_str()),
                HeaderText::Secret { secret } => serde_json::json!({"secret": secret.reveal()}),
            };
            (name.clone(), value)
        };
        object.insert("headers".to_owned(), Value::Object(self.headers.iter().map(header).collect()));
    }
}

impl Reveal for SourceConfig {
    fn reveal_into(&self, object: &mut Object) {
        put(object, "token", Some(&self.token));
        if let Some(old) = self.old_token.as_ref().map(RetiringSecret::reveal) {
            object.insert("old_token".to_owned(), old);
        }
        put(object, "n8n_api_key", self.n8n_api_key.as_ref());
    }
}

impl Reveal for Subscription {
    fn reveal_into(&self, _: &mut Object) {}
}

impl Reveal for Key {
    fn reveal_into(&self, _: &mut Object) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_revealed_reads_as_it_was() {
        let endpoint: Endpoint = serde_json::from_value(json!({
            "id": "crm", "url": "https://crm.example/", "n8n_api_key": "k", "secrets": ["whsec_a", {"secret": "whsec_b", "until": "2026-11-21T08:00:00Z"}],
            "headers": {"x": "plain", "y": {"secret": "s"}}, "retry": {"schedule": ["5s"]},
        }))
        .unwrap();
        let source: SourceConfig =
            serde_json::from_value(json!({"id": "main", "dialect": "whazing", "token": "t", "n8n_api_key": "k",
                "old_token": {"secret": "o", "until": "2026-11-21T08:00:00Z"}}))
            .unwrap();
        assert_eq!(store::read_json::<Endpoint>(&Value::Object(reveal(&endpoint))), Ok(endpoint));
        assert_eq!(store::read_json::<SourceConfig>(&Value::Object(reveal(&source))), Ok(source));
    }
}
