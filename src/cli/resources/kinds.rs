//! The kinds, and what can be done with each besides changing its fields.

use clap::Subcommand;

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
    /// Let nothing go out; what comes ends as dead letters.
    Disable(One<OfTenant>),
    /// End everything that waits for it, as dead letters.
    Cancel(One<OfTenant>),
    /// Make a new signing secret; the ones before stay valid beside it.
    RotateSecret(One<OfTenant>),
    /// Show what waits for it.
    Waiting(One<OfTenant>),
}

impl More for MoreOfEndpoints {
    fn step(self) -> (One<OfTenant>, Step) {
        let post = |path, done| Step { method: Method::POST, path, done: Some(done) };
        match self {
            Self::Enable(one) => (one, post("/enable", "enabled")),
            Self::Disable(one) => (one, post("/disable", "disabled")),
            Self::Cancel(one) => (one, post("/cancel", "relieved: what waits for it ends as dead letters")),
            Self::RotateSecret(one) => (one, post("/secrets/rotate", "has a new secret")),
            Self::Waiting(one) => (one, Step { method: Method::GET, path: "/waiting", done: None }),
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
    /// Make a new token for its URL.
    RotateToken(One<OfTenant>),
}

impl More for MoreOfSources {
    fn step(self) -> (One<OfTenant>, Step) {
        let Self::RotateToken(one) = self;
        (one, Step { method: Method::POST, path: "/token/rotate", done: Some("has a new token") })
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
    /// Make it anew.
    Rotate(One<OfTenant>),
}

impl More for MoreOfKeys {
    fn step(self) -> (One<OfTenant>, Step) {
        let Self::Rotate(one) = self;
        (one, Step { method: Method::POST, path: "/rotate", done: Some("is a new one") })
    }
}
