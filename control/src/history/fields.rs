//! The fields of a filter of deliveries and events, as requests name them.

use history::{DeliveryState, Filter};
use schemas::{DeadReason, EventType, OutcomeClass, time::unix_ms};

/// Fields that a query and a body may name.
pub(crate) const OF_DELIVERIES: [&str; 13] = [
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
];
/// Field for any id.
pub(crate) const ANY_ID: &str = "q";
/// Field of events: whether a subscription matched.
pub(crate) const MATCHED: &str = "matched";

/// A field has a value that it cannot have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: expected {expected}")]
pub(crate) struct InvalidField {
    name: String,
    expected: String,
}

/// Sets a field by its name. The name is one of the above.
pub(crate) fn set(filter: &mut Filter, name: &str, text: &str) -> Result<(), InvalidField> {
    let expected = |what: String| InvalidField { name: name.to_owned(), expected: what };
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
        MATCHED => {
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
        ANY_ID => filter.q = owned.filter(|text| !text.trim().is_empty()),
        _ => {}
    }
    Ok(())
}

pub(crate) fn states() -> Vec<&'static str> {
    DeliveryState::ALL.iter().map(|state| state.as_str()).collect()
}

pub(crate) fn outcomes() -> Vec<&'static str> {
    OutcomeClass::ALL.iter().map(|outcome| outcome.as_str()).collect()
}

pub(crate) fn reasons() -> Vec<&'static str> {
    DeadReason::ALL.iter().map(|reason| reason.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use service::problem::{Code, Problem};

    use super::*;

    #[test]
    fn every_field_is_set_and_a_wrong_value_is_named() {
        for name in OF_DELIVERIES.into_iter().chain([ANY_ID, MATCHED]) {
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
            let problem = Problem::from(set(&mut Filter::default(), name, "?").expect_err(name));
            assert_eq!(problem.code, Code::InvalidParameter);
            assert!(problem.detail.is_some_and(|detail| detail.starts_with(name)));
        }
    }
}
