//! `carteiro channels`: a channel's webhook, with the fields of the vendors' screens.

use clap::Subcommand;
use control::TickedEvent;
use schemas::{Format, TicketStatus};
use serde::Serialize;
use service::Exit;

use super::{
    CollectionArgs, ResourceArgs, TenantArg,
    arguments::{BodyArgs, Texts, UnsetArgs, secret},
    collection::Collection,
    endpoints::LOST_WITH_ENDPOINT,
    flags::name_flags,
};
use crate::cli::{
    client::Method,
    confirm::ConfirmArgs,
    setup::Setup,
    words::{word, word_list},
};

const NAME: &str = "webhook of channel";
const COLUMNS: [(&str, &str); 5] =
    [("channel", "channel_id"), ("enabled", "enabled"), ("events", "events"), ("format", "format"), ("url", "url")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ChannelCommand,
}

#[derive(Debug, Subcommand)]
enum ChannelCommand {
    /// List the channels that have a webhook.
    List {
        #[command(flatten)]
        collection: CollectionArgs<TenantArg>,
    },
    /// Show a channel's webhook.
    Show(ResourceArgs<TenantArg>),
    /// Create a channel's webhook, or replace it.
    Set {
        #[command(flatten)]
        channel: ResourceArgs<TenantArg>,
        #[command(flatten)]
        body: BodyArgs<ChannelFields>,
        #[command(flatten)]
        unset: UnsetArgs,
    },
    /// Change some of its fields, by a JSON Merge Patch.
    Patch {
        #[command(flatten)]
        channel: ResourceArgs<TenantArg>,
        #[command(flatten)]
        body: BodyArgs<ChannelFields>,
        #[command(flatten)]
        unset: UnsetArgs,
    },
    /// Delete a channel's webhook.
    Delete {
        #[command(flatten)]
        channel: ResourceArgs<TenantArg>,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

#[derive(Debug, clap::Args, Serialize)]
pub(super) struct ChannelFields {
    /// Whether events are sent.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// URL that deliveries are posted to: its field `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// The ticked boxes, separated by commas; "" is none.
    #[arg(long, value_name = "BOXES", value_parser = word_list::<TickedEvent>())]
    events: Option<Texts>,
    /// Key to send as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    /// Format of the body. Default: whazing.
    #[arg(long, value_parser = word::<Format>())]
    format: Option<String>,
    /// Whether messages of groups are sent.
    #[arg(long, value_name = "BOOL")]
    groups: Option<bool>,
    /// Only messages of tickets in these states, separated by commas.
    #[arg(long, value_name = "WORDS", value_parser = word_list::<TicketStatus>())]
    ticket_statuses: Option<Texts>,
}

pub(crate) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let channels = |args: &CollectionArgs<TenantArg>| Collection::open(setup, args, NAME, "channels");
    let webhooks =
        |channel: &ResourceArgs<TenantArg>| channels(&channel.collection).map(|channels| channels.views("/webhook"));
    let done = match args.command {
        ChannelCommand::List { collection } => channels(&collection)?.list(&COLUMNS).await,
        ChannelCommand::Show(channel) => webhooks(&channel)?.show(&channel.id).await,
        ChannelCommand::Set { channel, body, unset } => {
            webhooks(&channel)?.write(Method::PUT, &channel.id, unset.apply_to(body.read()?)).await
        }
        ChannelCommand::Patch { channel, body, unset } => {
            webhooks(&channel)?.write(Method::PATCH, &channel.id, unset.apply_to(body.read()?)).await
        }
        ChannelCommand::Delete { channel, confirm } => {
            let webhooks = webhooks(&channel)?;
            confirm.confirm(&format!("{NAME} {} will be deleted, {LOST_WITH_ENDPOINT}", channel.id))?;
            webhooks.delete(&channel.id).await
        }
    };
    done.map_err(name_flags::<ChannelFields>)
}
