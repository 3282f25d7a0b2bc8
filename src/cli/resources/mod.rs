//! `carteiro tenants`, `endpoints`, `subscriptions`, `sources`, `keys`, `channels`, `integrations`: what is configured,
//! looked at and changed over the API. One implementation; a kind is its name, its fields' flags and its own verbs.

mod body;
mod call;
mod channels;
mod fields;
mod home;
mod integrations;
mod kind;
mod kinds;
mod show;

pub(super) use channels::{Args as ChannelArgs, run as channels};
pub(super) use fields::secret;
pub(super) use home::segment;
pub(super) use integrations::{Args as IntegrationArgs, run as integrations};
pub(super) use kind::{Args, run};
pub(super) use kinds::{Endpoints, Keys, Sources, Subscriptions, Tenants};
pub(super) use show::{cell, say_so};
