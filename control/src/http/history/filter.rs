//! The filter of deliveries and events in a query.

use schemars::{JsonSchema as _, SchemaGenerator, json_schema};
use schemas::{EventType, time::SINCE_1970};
use service::openapi::Operation;

use crate::{
    history::fields::{ANY_ID, OF_DELIVERIES, outcomes, reasons, states},
    http::{describe, page},
};

/// Query parameter of the operator's lists: the tenant's id.
pub(super) const TENANT: &str = "tenant";

/// The query parameters of a list, with some of its own.
pub(super) fn parameters(own: &[&'static str]) -> Vec<&'static str> {
    [&OF_DELIVERIES[..], &[ANY_ID], &page::PARAMETERS, own].concat()
}

/// Describes the parameters that lists of deliveries and of events have in common.
pub(super) fn described(op: Operation) -> Operation {
    let text = || json_schema!({"type": "string"});
    let word = |words: Vec<&str>| json_schema!({"type": "string", "enum": words});
    let time = || json_schema!({"type": "string", "format": "date-time", "pattern": SINCE_1970});
    let event_type = EventType::json_schema(&mut SchemaGenerator::default());
    let parameters = [
        ("state", "How the delivery is.", word(states())),
        ("endpoint_id", "Where it goes.", text()),
        ("event_type", "The event's type.", event_type),
        ("event_id", "The event's id.", text()),
        ("channel_id", "The event's channel.", text()),
        ("queue_id", "The queue of the event's ticket.", text()),
        ("ticket_id", "The event's ticket.", text()),
        ("protocol", "The ticket's protocol.", text()),
        (
            "contact",
            "The contact's number in any notation, with or without the ninth digit of a Brazilian mobile number; its id \
             where it has no number.",
            text(),
        ),
        ("outcome", "Class of the last attempt's outcome.", word(outcomes())),
        ("reason", "Why the delivery is dead.", word(reasons())),
        ("since", "First accepted then or later.", time()),
        ("until", "First accepted earlier than that.", time()),
        (
            ANY_ID,
            "Any id of an event, a delivery, a ticket or a contact, a `webhook-id`, a protocol or a number.",
            text(),
        ),
    ];
    parameters.into_iter().fold(op, |op, (name, about, schema)| describe::parameter(op, name, about, schema))
}
