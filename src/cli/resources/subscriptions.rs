//! `carteiro subscriptions`.

use schemas::{MessageDirection, TicketStatus};
use serde::Serialize;

use super::{
    Args, NoActions, NoFilter, ResourceFields, TenantArg,
    arguments::{Texts, texts},
};
use crate::cli::words::word_list;

pub(crate) type SubscriptionArgs = Args<SubscriptionFields, TenantArg, NoActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct SubscriptionFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// The endpoint that gets matching events.
    #[arg(long = "endpoint-id", value_name = "ID")]
    endpoint_id: Option<String>,
    /// Whether it is in force.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Only events of these types, such as message.received,ticket.* ; "" matches none.
    #[arg(long, value_name = "TYPES", value_parser = texts)]
    event_types: Option<Texts>,
    /// Only events of these channels. Default: any.
    #[arg(long, value_name = "IDS", value_parser = texts)]
    channel_ids: Option<Texts>,
    /// Only events in these queues, "-" being no queue. Default: any.
    #[arg(long, value_name = "IDS", value_parser = texts)]
    queue_ids: Option<Texts>,
    /// Only messages in these directions, separated by commas.
    #[arg(long, value_name = "WORDS", value_parser = word_list::<MessageDirection>())]
    directions: Option<Texts>,
    /// Only messages of tickets in these states, separated by commas.
    #[arg(long, value_name = "WORDS", value_parser = word_list::<TicketStatus>())]
    ticket_statuses: Option<Texts>,
    /// Whether messages of groups match.
    #[arg(long, value_name = "BOOL")]
    groups: Option<bool>,
    /// Whether a transfer to one of its queues is sent at once, as the last message received.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    start_on_transfer: Option<bool>,
}

impl ResourceFields for SubscriptionFields {
    const NAME: &'static str = "subscription";
    const COLLECTION: &'static str = "subscriptions";
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "id"),
        ("endpoint", "endpoint_id"),
        ("enabled", "enabled"),
        ("event types", "event_types"),
        ("channels", "channel_ids"),
        ("queues", "queue_ids"),
    ];
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::{super::BodyArgs, *};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        body: BodyArgs<SubscriptionFields>,
    }

    #[test]
    fn lists_are_written_with_commas_and_an_empty_argument_is_an_empty_list() {
        let flags = ["x", "--channel-ids", "7,loja 1", "--event-types", "", "--start-on-transfer"];
        let expected = json!({"channel_ids": ["7", "loja 1"], "event_types": [], "start_on_transfer": true});
        let body = Cli::try_parse_from(flags).unwrap_or_else(|error| panic!("{error}")).body.read().unwrap();
        assert_eq!(Value::from(body), expected);
    }
}
