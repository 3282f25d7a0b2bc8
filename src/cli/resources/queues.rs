//! `carteiro queues`: the integration that a queue is bound to.

use clap::Subcommand;
use schemas::TicketStatus;
use serde::Serialize;

use super::{Action, Actions, Args, NoFilter, ResourceArgs, ResourceFields, TenantArg, arguments::Texts};
use crate::cli::words::word_list;

pub(crate) type QueueArgs = Args<QueueFields, TenantArg, QueueActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct QueueFields {
    /// The integration that gets the queue's messages.
    #[arg(long, visible_alias = "integration", value_name = "ID")]
    integration_id: Option<String>,
    /// Whether it begins at once when a ticket is transferred there, with the last message received.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    start_on_transfer: Option<bool>,
    /// Whether events are sent.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Whether messages of groups are sent.
    #[arg(long, value_name = "BOOL")]
    groups: Option<bool>,
    /// Only messages of tickets in these states, separated by commas.
    #[arg(long, value_name = "WORDS", value_parser = word_list::<TicketStatus>())]
    ticket_statuses: Option<Texts>,
}

impl ResourceFields for QueueFields {
    const NAME: &'static str = "integration of queue";
    const COLLECTION: &'static str = "queues";
    const VIEW: &'static str = "/integration";
    const MAKES_IDS: bool = false;
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("queue", "queue_id"),
        ("integration", "integration_id"),
        ("enabled", "enabled"),
        ("start on transfer", "start_on_transfer"),
        ("endpoint", "endpoint_id"),
    ];
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueActions {
    /// Let the queue's events go to its integration again.
    Enable(ResourceArgs<TenantArg>),
    /// Let nothing new go to its integration until it is enabled. What is queued still goes out.
    Disable(ResourceArgs<TenantArg>),
    /// Send a test to its integration: one attempt, and how it ended.
    Test(ResourceArgs<TenantArg>),
}

impl Actions for QueueActions {
    fn action(self) -> (ResourceArgs<TenantArg>, Action) {
        match self {
            Self::Enable(queue) => (queue, Action::post("/enable", Some("enabled"))),
            Self::Disable(queue) => (queue, Action::post("/disable", Some("disabled"))),
            Self::Test(queue) => (queue, Action::post("/test", None)),
        }
    }
}
