//! The filter of deliveries and events in a query.

use history::{DeliveryState, Filter};
use schemars::{JsonSchema as _, SchemaGenerator, json_schema};
use schemas::{
    DeadReason, EventType, OutcomeClass,
    time::{SINCE_1970, unix_ms},
};
use service::{
    openapi::Operation,
    problem::{Code, Problem},
};

use crate::http::describe;

/// Query parameters that lists of deliveries and of events have in common.
pub(super) const PARAMETERS: [&str; 14] = [
    "state",
    "endpoint_id",
    "event_type",
    "event_id",
    "channel_id",
    "queue_id",
    "ticket_id",
    "protocol",
    "contact",
    "outcome",
    "reason",
    "since",
    "until",
    "q",
];
/// Query parameter of lists of events.
pub(super) const MATCHED: &str = "matched";
/// Query parameter of the operator's lists: the tenant's id.
pub(super) const TENANT: &str = "tenant";

/// Sets a field by its name. The name is one of the above.
pub(super) fn set(filter: &mut Filter, name: &str, text: &str) -> Result<(), Problem> {
    let expected = |what: String| Problem::new(Code::InvalidParameter).detail(format!("{name}: expected {what}"));
    let time = || unix_ms(text).ok_or_else(|| expected("an RFC 3339 time, such as 2026-01-31T08:00:00Z".to_owned()));
    let words = |words: Vec<&str>| expected(format!("one of {}", words.join(", ")));
    let owned = Some(text.to_owned());
    match name {
        "state" => {
            let found = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
            filter.state = Some(found.ok_or_else(|| words(states()))?);
        }
        "outcome" => {
            let found = OutcomeClass::ALL.into_iter().find(|outcome| outcome.as_str() == text);
            filter.outcome = Some(found.ok_or_else(|| words(outcomes()))?);
        }
        "reason" => filter.reason = Some(DeadReason::parse(text).ok_or_else(|| words(reasons()))?),
        "event_type" => {
            let found = EventType::try_from(text.to_owned());
            let found = found.map_err(|_| expected("an event type, such as ticket.created".to_owned()))?;
            filter.event_type = Some(found.to_string());
        }
        "matched" => {
            filter.matched = Some(text.parse().map_err(|_| expected("true or false".to_owned()))?);
        }
        "since" => filter.since = Some(time()?),
        "until" => filter.until = Some(time()?),
        "endpoint_id" => filter.endpoint_id = owned,
        "event_id" => filter.event_id = owned,
        "channel_id" => filter.channel_id = owned,
        "queue_id" => filter.queue_id = owned,
        "ticket_id" => filter.ticket_id = owned,
        "protocol" => filter.protocol = owned,
        "contact" => filter.contact = owned,
        "q" => filter.q = owned.filter(|text| !text.trim().is_empty()),
        _ => {}
    }
    Ok(())
}

fn states() -> Vec<&'static str> {
    DeliveryState::ALL.iter().map(|state| state.as_str()).collect()
}

fn outcomes() -> Vec<&'static str> {
    OutcomeClass::ALL.iter().map(|outcome| outcome.as_str()).collect()
}

fn reasons() -> Vec<&'static str> {
    DeadReason::ALL.iter().map(|reason| reason.as_str()).collect()
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
        ("q", "Any id of an event, a delivery, a ticket or a contact, a `webhook-id`, a protocol or a number.", text()),
    ];
    parameters.into_iter().fold(op, |op, (name, about, schema)| describe::parameter(op, name, about, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_sets_a_field_and_a_wrong_value_is_named() {
        for name in PARAMETERS.into_iter().chain([MATCHED]) {
            let text = match name {
                "state" => "dead",
                "outcome" => "5xx",
                "reason" => "exhausted",
                "event_type" => "ticket.created",
                "matched" => "false",
                "since" | "until" => "2026-01-31T08:00:00Z",
                _ => "7",
            };
            let mut filter = Filter::default();
            set(&mut filter, name, text).expect(name);
            assert_ne!(filter, Filter::default(), "{name}");
        }
        for name in ["state", "outcome", "reason", "event_type", "matched", "since", "until"] {
            let problem = set(&mut Filter::default(), name, "?").expect_err(name);
            assert_eq!(problem.code, Code::InvalidParameter);
            assert!(problem.detail.is_some_and(|detail| detail.starts_with(name)));
        }
    }
}
