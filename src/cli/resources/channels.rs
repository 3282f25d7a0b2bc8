//! `carteiro channels`: a channel's webhook, as the vendors' screens have it.

use clap::Subcommand;
use service::Exit;

use super::{
    body::{Body, Unset},
    call::Place,
    fields::ChannelFields,
    home::{At, OfTenant, One},
};
use crate::cli::{client::Method, setup::Setup};

const NAME: &str = "webhook of channel";
const COLUMNS: [(&str, &str); 5] =
    [("channel", "channel_id"), ("enabled", "enabled"), ("events", "events"), ("format", "format"), ("url", "url")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the channels that have one.
    List {
        #[command(flatten)]
        at: At<OfTenant>,
    },
    /// Show a channel's webhook.
    Show(One<OfTenant>),
    /// Make it, or replace it.
    Set {
        #[command(flatten)]
        one: One<OfTenant>,
        #[command(flatten)]
        body: Body<ChannelFields>,
        #[command(flatten)]
        unset: Unset,
    },
    /// Change some of its fields, by a JSON Merge Patch.
    Patch {
        #[command(flatten)]
        one: One<OfTenant>,
        #[command(flatten)]
        body: Body<ChannelFields>,
        #[command(flatten)]
        unset: Unset,
    },
    /// Delete it.
    Delete(One<OfTenant>),
}

pub(crate) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let place = |one: &One<OfTenant>| Place::new(setup, &one.at, NAME, "channels").map(|place| place.view("/webhook"));
    match args.verb {
        Verb::List { at } => Place::new(setup, &at, NAME, "channels")?.list(&COLUMNS).await,
        Verb::Show(one) => place(&one)?.show(&one.id).await,
        Verb::Set { one, body, unset } => place(&one)?.write(Method::PUT, &one.id, unset.of(body.read()?)).await,
        Verb::Patch { one, body, unset } => place(&one)?.write(Method::PATCH, &one.id, unset.of(body.read()?)).await,
        Verb::Delete(one) => place(&one)?.delete(&one.id).await,
    }
}
