//! Rotation without a gap: a replaced secret stays valid beside its successor until a time.
//!
//! A source's token, a tenant's key and an endpoint's signing secrets rotate in the same way. Time is an argument.
//! Nothing is written when a secret ends: it is ignored from then on, and removed with the next change.

use std::{fmt, mem};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};

use crate::{Endpoint, Key, KeyHash, Secret, SourceConfig, Span, pattern, time::Moment};

/// A replaced secret that is valid until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiringSecret {
    /// The secret itself.
    pub secret: Secret,
    /// End of its validity.
    pub until: Moment,
}

/// The hash of a replaced key that is valid until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiringHash {
    /// `sha256:<64 hex digits>` of the key.
    pub hash: KeyHash,
    /// End of its validity.
    pub until: Moment,
}

/// One of an endpoint's signing secrets: a text, or a secret that retires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum SigningSecret {
    /// Valid until it is removed.
    Lasting(#[schemars(schema_with = "signing_secret_schema")] Secret),
    /// Valid until a time.
    Retiring(RetiringSecret),
}

fn signing_secret_schema(generator: &mut SchemaGenerator) -> Schema {
    let schema = generator.subschema_for::<Secret>();
    pattern::in_requests(schema, generator, pattern::SIGNING_SECRET)
}

impl RetiringSecret {
    /// JSON with the secret itself. Only the store may use it.
    pub fn reveal(&self) -> Value {
        json!({"secret": self.secret.reveal(), "until": self.until})
    }
}

impl SigningSecret {
    /// The secret itself, whether or not it is still valid.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Lasting(secret) | Self::Retiring(RetiringSecret { secret, .. }) => secret,
        }
    }

    /// End of the validity; none for a lasting secret.
    pub fn until(&self) -> Option<Moment> {
        match self {
            Self::Lasting(_) => None,
            Self::Retiring(retiring) => Some(retiring.until),
        }
    }

    /// JSON with the secret itself. Only the store may use it.
    pub fn reveal(&self) -> Value {
        match self {
            Self::Lasting(secret) => secret.reveal().into(),
            Self::Retiring(retiring) => retiring.reveal(),
        }
    }

    fn has_ended(&self, now: u64) -> bool {
        self.until().is_some_and(|until| until.has_come(now))
    }

    /// Retires the secret at a time. An already retiring secret keeps its own time, which receivers rely on.
    fn retired(self, until: Moment) -> Self {
        match self {
            Self::Lasting(secret) => Self::Retiring(RetiringSecret { secret, until }),
            retiring @ Self::Retiring(_) => retiring,
        }
    }
}

impl From<String> for SigningSecret {
    fn from(text: String) -> Self {
        Self::Lasting(text.into())
    }
}

/// A manual implementation, because errors of serde's `untagged` do not name the place of the mistake.
impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SigningSecretVisitor;

        impl<'de> Visitor<'de> for SigningSecretVisitor {
            type Value = SigningSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or {secret: text, until: time}")
            }

            fn visit_str<E>(self, text: &str) -> Result<SigningSecret, E> {
                Ok(SigningSecret::from(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SigningSecret, A::Error> {
                RetiringSecret::deserialize(MapAccessDeserializer::new(map)).map(SigningSecret::Retiring)
            }
        }

        deserializer.deserialize_any(SigningSecretVisitor)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Time of the replacement, in unix milliseconds.
    pub now: u64,
    /// Time for which both secrets are valid. With zero, all old secrets end at once.
    pub overlap: Span,
}

impl Rotation {
    /// Default overlap: a day, so that it includes the working hours of everyone involved.
    pub const OVERLAP: Span = Span::hours(24);
    /// Longest overlap. A longer one would amount to two permanent secrets.
    pub const LONGEST_OVERLAP: Span = Span::hours(30 * 24);

    /// End of the old secret; none when it ends at once.
    fn until(self) -> Option<Moment> {
        (!self.overlap.0.is_zero()).then(|| Moment(self.now.saturating_add(self.overlap.millis())))
    }
}

impl SourceConfig {
    /// The token, and the previous one with its end, which may have passed.
    pub fn tokens(&self) -> impl Iterator<Item = (&Secret, Option<Moment>)> {
        let old = self.old_token.iter().map(|old| (&old.secret, Some(old.until)));
        std::iter::once((&self.token, None)).chain(old)
    }

    /// Replaces the token. A token that is retiring already is removed.
    pub fn rotate(&mut self, token: Secret, rotation: Rotation) {
        let secret = mem::replace(&mut self.token, token);
        self.old_token = rotation.until().map(|until| RetiringSecret { secret, until });
    }

    pub fn forget_ended(&mut self, now: u64) {
        self.old_token.take_if(|old| old.until.has_come(now));
    }
}

impl Key {
    /// The hash, and the previous one with its end, which may have passed.
    pub fn hashes(&self) -> impl Iterator<Item = (KeyHash, Option<Moment>)> {
        std::iter::once((self.hash, None)).chain(self.old_hash.map(|old| (old.hash, Some(old.until))))
    }

    /// Replaces the hash. A hash that is retiring already is removed.
    pub fn rotate(&mut self, hash: KeyHash, rotation: Rotation) {
        let hash = mem::replace(&mut self.hash, hash);
        self.old_hash = rotation.until().map(|until| RetiringHash { hash, until });
    }

    pub fn forget_ended(&mut self, now: u64) {
        self.old_hash.take_if(|old| old.until.has_come(now));
    }
}

impl Endpoint {
    /// Largest number of secrets; older ones are removed. More would make the header of signatures longer than
    /// receivers read.
    pub const MAX_SECRETS: usize = 10;

    /// The secrets that sign requests at `now` (unix milliseconds), newest first. Requests are unsigned if there is
    /// none.
    pub fn signing_secrets(&self, now: u64) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |secret| !secret.has_ended(now)).map(SigningSecret::secret)
    }

    /// Adds a new secret in front. The others retire together; already retiring ones keep their own time.
    pub fn rotate(&mut self, secret: Secret, rotation: Rotation) {
        let before = mem::replace(&mut self.secrets, vec![SigningSecret::Lasting(secret)]);
        if let Some(until) = rotation.until() {
            self.secrets.extend(before.into_iter().map(|secret| secret.retired(until)));
        }
        self.forget_ended(rotation.now);
        self.secrets.truncate(Self::MAX_SECRETS);
    }

    pub fn forget_ended(&mut self, now: u64) {
        self.secrets.retain(|secret| !secret.has_ended(now));
    }
}

#[cfg(test)]
mod tests;
