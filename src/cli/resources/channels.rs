//! `carteiro channels`: a channel's webhook, as the vendors' screens have it.

use clap::Subcommand;
use service::Exit;

use super::{
    body::{Body, Unset},
    call::Place,
    fields::ChannelFields,
    home::{OfTenant, One},
};
use crate::cli::{client::Method, setup::Setup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
    /// Delete it.
    Delete(One<OfTenant>),
}

pub(crate) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let place = |one: &One<OfTenant>| {
        Place::new(setup, &one.at, "webhook of channel", "channels").map(|place| place.view("/webhook"))
    };
    match args.verb {
        Verb::Show(one) => place(&one)?.show(&one.id).await,
        Verb::Set { one, body, unset } => place(&one)?.write(Method::PUT, &one.id, unset.of(body.read()?)).await,
        Verb::Delete(one) => place(&one)?.delete(&one.id).await,
    }
}
