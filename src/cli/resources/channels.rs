//! `carteiro channels`: a channel's webhook, with the fields of the vendors' screens.

use control::TickedEvent;
use schemas::{Format, Signature, TicketStatus};
use serde::Serialize;

use super::{
    Args, NoFilter, ResourceFields, TenantArg,
    arguments::{Texts, secret},
    endpoints::{EndpointActions, LOST_WITH_ENDPOINT},
};
use crate::cli::words::{word, word_list};

pub(crate) type ChannelArgs = Args<ChannelFields, TenantArg, EndpointActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct ChannelFields {
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
    /// Kind of its signatures.
    #[arg(long, value_parser = word::<Signature>())]
    signature: Option<String>,
}

impl ResourceFields for ChannelFields {
    const NAME: &'static str = "webhook of channel";
    const COLLECTION: &'static str = "channels";
    const VIEW: &'static str = "/webhook";
    const MAKES_IDS: bool = false;
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("channel", "channel_id"),
        ("enabled", "enabled"),
        ("events", "events"),
        ("format", "format"),
        ("state", "state"),
        ("endpoint", "endpoint_id"),
        ("url", "url"),
    ];
    const LOST_WITH_IT: Option<&'static str> = Some(LOST_WITH_ENDPOINT);
}
