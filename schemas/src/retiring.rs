//! Rotation without a gap: what was replaced stays valid beside its successor until a time.
//!
//! One shape for a source's token, a tenant's key and an endpoint's signing secrets. Time is an argument, and nothing has
//! to be written when it passes: what has ended is overlooked, and forgotten with the next change.

use std::{fmt, mem};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};

use crate::{Endpoint, Key, KeyHash, Secret, SourceConfig, Span, time::Moment};

/// A secret that another one has replaced, and how long it is still valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiringSecret {
    /// The secret itself.
    pub secret: Secret,
    /// From then on it is not valid any more.
    pub until: Moment,
}

/// A key that another one has replaced, and how long it is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiringHash {
    /// `sha256:<64 hex digits>` of the key.
    pub hash: KeyHash,
    /// From then on it is not valid any more.
    pub until: Moment,
}

/// One of an endpoint's signing secrets: a text, or one that is being retired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum SigningSecret {
    /// Valid until it is taken away.
    Lasting(Secret),
    /// Valid until a time.
    Retiring(RetiringSecret),
}

impl RetiringSecret {
    /// As JSON with the secret itself; for what keeps it, and nothing else.
    pub fn reveal(&self) -> Value {
        json!({"secret": self.secret.reveal(), "until": self.until})
    }
}

impl SigningSecret {
    /// The secret itself, whether it is still valid or not.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Lasting(secret) | Self::Retiring(RetiringSecret { secret, .. }) => secret,
        }
    }

    /// When it ends; none: not by itself.
    pub fn until(&self) -> Option<Moment> {
        match self {
            Self::Lasting(_) => None,
            Self::Retiring(retiring) => Some(retiring.until),
        }
    }

    /// As JSON with the secret itself; for what keeps it, and nothing else.
    pub fn reveal(&self) -> Value {
        match self {
            Self::Lasting(secret) => secret.reveal().into(),
            Self::Retiring(retiring) => retiring.reveal(),
        }
    }

    fn has_ended(&self, now: u64) -> bool {
        self.until().is_some_and(|until| until.has_come(now))
    }

    /// The same, to end then. What ends by itself keeps its own time: somebody relies on it.
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

/// By hand, so that what is wrong is told with its place inside, which serde's `untagged` forgets.
impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
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

        deserializer.deserialize_any(Form)
    }
}

/// What is put in the place of something, and how long that stays valid beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Now, in unix milliseconds.
    pub now: u64,
    /// How long both are valid; zero: the one before ends at once, and so does what was retiring.
    pub overlap: Span,
}

impl Rotation {
    /// The overlap where none is asked for: a day, in which somebody is at work everywhere.
    pub const OVERLAP: Span = Span::hours(24);
    /// The longest overlap: what stays valid for longer was not rotated, but doubled.
    pub const LONGEST_OVERLAP: Span = Span::hours(30 * 24);

    /// When what is replaced ends; none: at once.
    fn until(self) -> Option<Moment> {
        (!self.overlap.0.is_zero()).then(|| Moment(self.now.saturating_add(self.overlap.millis())))
    }
}

impl SourceConfig {
    /// Takes a new token. One that was retiring already gives way to the one that retires now.
    pub fn rotate(&mut self, token: Secret, rotation: Rotation) {
        let secret = mem::replace(&mut self.token, token);
        self.old_token = rotation.until().map(|until| RetiringSecret { secret, until });
    }

    /// Forgets the token that has ended.
    pub fn forget_ended(&mut self, now: u64) {
        self.old_token.take_if(|old| old.until.has_come(now));
    }
}

impl Key {
    /// Takes a new hash. One that was retiring already gives way to the one that retires now.
    pub fn rotate(&mut self, hash: KeyHash, rotation: Rotation) {
        let hash = mem::replace(&mut self.hash, hash);
        self.old_hash = rotation.until().map(|until| RetiringHash { hash, until });
    }

    /// Forgets the hash that has ended.
    pub fn forget_ended(&mut self, now: u64) {
        self.old_hash.take_if(|old| old.until.has_come(now));
    }
}

impl Endpoint {
    /// More make the header with the signatures longer than receivers read; what is older gives way.
    pub const MAX_SECRETS: usize = 10;

    /// The secrets with which requests are signed at a time (unix ms), newest first. None: they are not signed.
    pub fn signing_secrets(&self, now: u64) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |secret| !secret.has_ended(now)).map(SigningSecret::secret)
    }

    /// Signs with a new secret first. Those before retire together; whoever retires already keeps its own time.
    pub fn rotate(&mut self, secret: Secret, rotation: Rotation) {
        let before = mem::replace(&mut self.secrets, vec![SigningSecret::Lasting(secret)]);
        if let Some(until) = rotation.until() {
            self.secrets.extend(before.into_iter().map(|secret| secret.retired(until)));
        }
        self.forget_ended(rotation.now);
        self.secrets.truncate(Self::MAX_SECRETS);
    }

    /// Forgets the secrets that have ended.
    pub fn forget_ended(&mut self, now: u64) {
        self.secrets.retain(|secret| !secret.has_ended(now));
    }
}

#[cfg(test)]
mod tests;
