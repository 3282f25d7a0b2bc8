//! The secret fields of each resource type, declared once.
//!
//! All special treatment of secrets reads these lists: masking in answers, sealing at rest, validation, hiding in
//! receivers' answers, revealing in an export, and keeping omitted secrets in a `PUT`. The tests compare each list with
//! the JSON schema of its type, so that an undeclared secret field fails them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Endpoint, HeaderText, Key, RetiringSecret, Secret, SigningSecret, SourceConfig, Subscription};

pub trait SecretFields: Sized + 'static {
    /// Every field that holds a secret, or the hash of one.
    const SECRET_FIELDS: &'static [SecretField<Self>];

    /// Every secret that the resource holds.
    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        Self::SECRET_FIELDS.iter().flat_map(|field| field.secrets(self))
    }

    /// JSON with the secrets themselves, for storage and export. Serialization alone gives their masks.
    fn reveal(&self) -> Map<String, Value>
    where
        Self: Serialize,
    {
        // Resources are plain structs with text keys, so their serialization cannot fail.
        let Ok(Value::Object(mut object)) = serde_json::to_value(self) else { return Map::new() };
        for field in Self::SECRET_FIELDS {
            if let Some(value) = field.reveal(self) {
                object.insert(field.name.to_owned(), value);
            }
        }
        object
    }
}

pub struct SecretField<T> {
    pub name: &'static str,
    pub form: SecretForm<T>,
}

/// Form of a secret field, which decides its validation and storage.
pub enum SecretForm<T> {
    /// A secret in the value of an HTTP header.
    HeaderValue(fn(&T) -> Option<&Secret>),
    /// A secret in one segment of a URL's path.
    UrlSegment(fn(&T) -> Option<&Secret>),
    /// A segment of a URL's path that stays valid until a time.
    RetiringUrlSegment(fn(&T) -> Option<&RetiringSecret>),
    Signing(fn(&T) -> &[SigningSecret]),
    /// HTTP headers by name, of which some values are secret.
    Headers(fn(&T) -> &BTreeMap<String, HeaderText>),
    /// The hash of a secret. It may be shown and stored unmasked. A `PUT` that omits it keeps it.
    Hash,
}

impl<T> SecretField<T> {
    pub fn secrets<'a>(&self, resource: &'a T) -> Vec<&'a Secret> {
        match &self.form {
            SecretForm::HeaderValue(read) | SecretForm::UrlSegment(read) => read(resource).into_iter().collect(),
            SecretForm::RetiringUrlSegment(read) => read(resource).iter().map(|retiring| &retiring.secret).collect(),
            SecretForm::Signing(read) => read(resource).iter().map(SigningSecret::secret).collect(),
            SecretForm::Headers(read) => read(resource).values().filter_map(HeaderText::secret).collect(),
            SecretForm::Hash => Vec::new(),
        }
    }

    /// The field as JSON with its secrets. None when it has no value, or when its own JSON shows everything.
    pub fn reveal(&self, resource: &T) -> Option<Value> {
        match &self.form {
            SecretForm::HeaderValue(read) | SecretForm::UrlSegment(read) => {
                read(resource).map(|secret| secret.reveal().into())
            }
            SecretForm::RetiringUrlSegment(read) => read(resource).map(RetiringSecret::reveal),
            SecretForm::Signing(read) => Some(read(resource).iter().map(SigningSecret::reveal).collect()),
            SecretForm::Headers(read) => {
                let value = |text: &HeaderText| match text {
                    HeaderText::Plain(text) => Value::from(text.as_str()),
                    HeaderText::Secret { secret } => json!({"secret": secret.reveal()}),
                };
                Some(read(resource).iter().map(|(name, text)| (name.clone(), value(text))).collect())
            }
            SecretForm::Hash => None,
        }
    }
}

impl SecretFields for Endpoint {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[
        SecretField { name: "headers", form: SecretForm::Headers(|endpoint| &endpoint.headers) },
        SecretField { name: "n8n_api_key", form: SecretForm::HeaderValue(|endpoint| endpoint.n8n_api_key.as_ref()) },
        SecretField { name: "secrets", form: SecretForm::Signing(|endpoint| &endpoint.secrets) },
    ];
}

impl SecretFields for SourceConfig {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[
        SecretField { name: "token", form: SecretForm::UrlSegment(|source| Some(&source.token)) },
        SecretField { name: "old_token", form: SecretForm::RetiringUrlSegment(|source| source.old_token.as_ref()) },
        SecretField { name: "n8n_api_key", form: SecretForm::HeaderValue(|source| source.n8n_api_key.as_ref()) },
    ];
}

impl SecretFields for Key {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[
        SecretField { name: "hash", form: SecretForm::Hash },
        SecretField { name: "old_hash", form: SecretForm::Hash },
    ];
}

impl SecretFields for Subscription {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[];
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;
