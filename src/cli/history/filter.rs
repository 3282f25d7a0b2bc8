//! The filter of deliveries and events, as flags of the API's names.

use clap::Args;
use history::DeliveryState;
use schemas::{DeadReason, OutcomeClass};

use crate::cli::{logs::Query, words::word};

#[derive(Clone, Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Only of this tenant. The operator sees all tenants without it; a tenant's key needs it.
    #[arg(long)]
    pub(super) tenant: Option<String>,
    /// Only with this state.
    #[arg(long, value_parser = word::<DeliveryState>())]
    state: Option<String>,
    /// Only to this endpoint.
    #[arg(long)]
    endpoint_id: Option<String>,
    /// Only of events of this type.
    #[arg(long)]
    event_type: Option<String>,
    /// Only of this event.
    #[arg(long)]
    event_id: Option<String>,
    /// Only of events of this channel.
    #[arg(long)]
    channel_id: Option<String>,
    /// Only of events of tickets in this queue.
    #[arg(long)]
    queue_id: Option<String>,
    /// Only of events of this ticket.
    #[arg(long)]
    ticket_id: Option<String>,
    /// Only of the ticket with this protocol.
    #[arg(long)]
    protocol: Option<String>,
    /// Only of the contact with this number, in any notation.
    #[arg(long)]
    contact: Option<String>,
    /// Only with this outcome of the last attempt.
    #[arg(long, value_parser = word::<OutcomeClass>())]
    outcome: Option<String>,
    /// Only dead ones with this reason.
    #[arg(long, value_parser = word::<DeadReason>())]
    reason: Option<String>,
    /// Only of events that were accepted at this time (RFC 3339) or later.
    #[arg(long)]
    pub(super) since: Option<String>,
    /// Only of events that were accepted before this time (RFC 3339).
    #[arg(long)]
    until: Option<String>,
    /// Any id of an event, a delivery, a ticket or a contact, a `webhook-id`, a protocol or a number.
    #[arg(long, short = 'q')]
    q: Option<String>,
}

impl FilterArgs {
    /// The parameters of the query, without the tenant.
    pub(super) fn query(&self) -> Query {
        let fields = [
            ("state", &self.state),
            ("endpoint_id", &self.endpoint_id),
            ("event_type", &self.event_type),
            ("event_id", &self.event_id),
            ("channel_id", &self.channel_id),
            ("queue_id", &self.queue_id),
            ("ticket_id", &self.ticket_id),
            ("protocol", &self.protocol),
            ("contact", &self.contact),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
            ("q", &self.q),
        ];
        fields.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect()
    }
}
