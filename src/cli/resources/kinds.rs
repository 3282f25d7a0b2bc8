//! The kinds, and what can be done with each besides changing its fields.

use clap::Subcommand;
use serde_json::json;

use super::{
    fields::{EndpointFields, KeyFields, SourceFields, SubscriptionFields, TenantFields},
    home::{Everyone, OfTenant, One},
    kind::{Kind, More, NoMore, Step},
};
use crate::cli::client::Method;

#[derive(Debug)]
pub(crate) struct Tenants;

impl Kind for Tenants {
    const NAME: &'static str = "tenant";
    const COLLECTION: &'static str = "tenants";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("id", "id"), ("name", "name"), ("quota", "quota")];
    type Home = Everyone;
    type Fields = TenantFields;
    type More = NoMore;
}

/// A new secret for one thing.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotation {
    #[command(flatten)]
    one: One<OfTenant>,
    /// How long what is replaced stays valid: a day where it is left out; `0s` ends it at once.
    #[arg(long, value_name = "DURATION")]
    overlap: Option<String>,
}

impl Rotation {
    fn step(self, path: &'static str, done: &'static str) -> (One<OfTenant>, Step) {
        let body = self.overlap.map(|overlap| json!({"overlap": overlap}));
        (self.one, Step { method: Method::POST, path, body, done: Some(done) })
    }
}

#[derive(Debug)]
pub(crate) struct Endpoints;

impl Kind for Endpoints {
    const NAME: &'static str = "endpoint";
    const COLLECTION: &'static str = "endpoints";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("id", "id"), ("name", "name"), ("format", "format"), ("state", "state"), ("url", "url")];
    type Home = OfTenant;
    type Fields = EndpointFields;
    type More = MoreOfEndpoints;
}

#[derive(Debug, Subcommand)]
pub(crate) enum MoreOfEndpoints {
    /// Let deliveries go out again.
    Enable(One<OfTenant>),
    /// Let nothing go out; its deliveries end as dead letters.
    Disable {
        #[command(flatten)]
        one: One<OfTenant>,
        /// Why, for whoever looks at it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End everything that waits for it, as dead letters, each when its turn comes.
    Cancel(One<OfTenant>),
    /// Sign with a new secret, and for a while with those before.
    RotateSecret(Rotation),
    /// Say how much waits for it.
    Waiting(One<OfTenant>),
}

impl More for MoreOfEndpoints {
    fn step(self) -> (One<OfTenant>, Step) {
        let post = |path, done| Step { method: Method::POST, path, body: None, done };
        match self {
            Self::Enable(one) => (one, post("/enable", Some("enabled"))),
            Self::Disable { one, reason } => {
                let body = reason.map(|reason| json!({"reason": reason}));
                (one, Step { body, ..post("/disable", Some("disabled")) })
            }
            Self::Cancel(one) => (one, post("/cancel", None)),
            Self::RotateSecret(rotation) => rotation.step("/secrets/rotate", "has a new secret"),
            Self::Waiting(one) => (one, Step { method: Method::GET, ..post("/waiting", None) }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Subscriptions;

impl Kind for Subscriptions {
    const NAME: &'static str = "subscription";
    const COLLECTION: &'static str = "subscriptions";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "id"),
        ("endpoint", "endpoint_id"),
        ("enabled", "enabled"),
        ("event types", "event_types"),
        ("channels", "channel_ids"),
        ("queues", "queue_ids"),
    ];
    type Home = OfTenant;
    type Fields = SubscriptionFields;
    type More = NoMore;
}

#[derive(Debug)]
pub(crate) struct Sources;

impl Kind for Sources {
    const NAME: &'static str = "source";
    const COLLECTION: &'static str = "sources";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("id", "id"), ("name", "name"), ("dialect", "dialect"), ("channel", "channel_id")];
    type Home = OfTenant;
    type Fields = SourceFields;
    type More = MoreOfSources;
}

#[derive(Debug, Subcommand)]
pub(crate) enum MoreOfSources {
    /// Make a new token for its URL; the one before stays valid for a while.
    #[command(visible_alias = "rotate")]
    RotateToken(Rotation),
}

impl More for MoreOfSources {
    fn step(self) -> (One<OfTenant>, Step) {
        let Self::RotateToken(rotation) = self;
        rotation.step("/token/rotate", "has a new token")
    }
}

#[derive(Debug)]
pub(crate) struct Keys;

impl Kind for Keys {
    const NAME: &'static str = "key";
    const COLLECTION: &'static str = "keys";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("id", "id"), ("name", "name"), ("scopes", "scopes")];
    type Home = OfTenant;
    type Fields = KeyFields;
    type More = MoreOfKeys;
}

#[derive(Debug, Subcommand)]
pub(crate) enum MoreOfKeys {
    /// Make it anew; the one before stays valid for a while.
    Rotate(Rotation),
}

impl More for MoreOfKeys {
    fn step(self) -> (One<OfTenant>, Step) {
        let Self::Rotate(rotation) = self;
        rotation.step("/rotate", "is another one now")
    }
}
