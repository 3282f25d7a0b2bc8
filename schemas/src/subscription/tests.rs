//! One table a dimension: what a subscription says, about which event, and what comes of it.

use super::*;
use crate::Event;

/// The parts of an event that filters look at.
const MESSAGE: &str = r#"{"type":"message.received","channel":{"id":7},"contact":{},"message":{},
    "ticket":{"id":1,"status":"open","queue":{"id":12}}}"#;
const TRANSFER: &str = r#"{"type":"ticket.transferred","channel":{"id":7},"message":{"direction":"inbound"},
    "ticket":{"id":1,"status":"pending","is_group":true,"queue":{"id":12}},
    "change":{"kind":"queue","from":{"id":9},"to":{"id":12}}}"#;

fn verdict(subscription: &str, event: &str) -> Result<Match, Mismatch> {
    let text = format!(r#"{{"id":"s","endpoint_id":"e",{subscription}}}"#);
    let subscription: Subscription = serde_json::from_str(&text).unwrap();
    let event: Event = serde_json::from_str(event).unwrap();
    subscription.accepts(&EventFacts::of(&event))
}

const EVENT: Result<Match, Mismatch> = Ok(Match { event: true, shot: false });
const SHOT: Result<Match, Mismatch> = Ok(Match { event: false, shot: true });
const BOTH: Result<Match, Mismatch> = Ok(Match { event: true, shot: true });

fn check(event: &str, table: &[(&str, Result<Match, Mismatch>)]) {
    for (subscription, expected) in table {
        assert_eq!(verdict(subscription, event), *expected, "{subscription} for {event}");
    }
}

#[test]
fn event_types_are_names_patterns_or_everything_and_nothing_by_default() {
    check(
        MESSAGE,
        &[
            (r#""event_types":["message.received"]"#, EVENT),
            (r#""event_types":["ticket.*","message.*"]"#, EVENT),
            (r#""event_types":["*"]"#, EVENT),
            (r#""event_types":["message.sent","ticket.*"]"#, Err(Mismatch::EventTypes)),
            (r#""event_types":[]"#, Err(Mismatch::EventTypes)),
            (r#""enabled":true"#, Err(Mismatch::EventTypes)),
        ],
    );
}

#[test]
fn channel_ids_are_any_by_default_and_none_when_empty() {
    check(
        MESSAGE,
        &[
            (r#""event_types":["*"],"channel_ids":[6,7]"#, EVENT),
            (r#""event_types":["*"],"channel_ids":["7"]"#, EVENT),
            (r#""event_types":["*"],"channel_ids":[8]"#, Err(Mismatch::ChannelIds)),
            (r#""event_types":["*"],"channel_ids":[]"#, Err(Mismatch::ChannelIds)),
        ],
    );
    let without = MESSAGE.replace(r#""channel":{"id":7},"#, "");
    check(
        &without,
        &[
            (r#""event_types":["*"]"#, EVENT),
            (r#""event_types":["*"],"channel_ids":[7,"-"]"#, Err(Mismatch::ChannelIds)),
        ],
    );
}

#[test]
fn a_hyphen_in_queue_ids_is_no_queue() {
    check(
        MESSAGE,
        &[
            (r#""event_types":["*"],"queue_ids":["12"]"#, EVENT),
            (r#""event_types":["*"],"queue_ids":["-"]"#, Err(Mismatch::QueueIds)),
            (r#""event_types":["*"],"queue_ids":[]"#, Err(Mismatch::QueueIds)),
        ],
    );
    let without = MESSAGE.replace(r#","queue":{"id":12}"#, "");
    check(
        &without,
        &[
            (r#""event_types":["*"]"#, EVENT),
            (r#""event_types":["*"],"queue_ids":[12,"-"]"#, EVENT),
            (r#""event_types":["*"],"queue_ids":[12]"#, Err(Mismatch::QueueIds)),
            (r#""event_types":["*"],"queue_ids":[]"#, Err(Mismatch::QueueIds)),
        ],
    );
}

#[test]
fn directions_apply_to_messages_received_and_sent_only() {
    check(
        MESSAGE,
        &[
            (r#""event_types":["*"],"directions":["received"]"#, EVENT),
            (r#""event_types":["*"],"directions":["sent"]"#, Err(Mismatch::Directions)),
            (r#""event_types":["*"],"directions":[]"#, Err(Mismatch::Directions)),
        ],
    );
    let other = MESSAGE.replace("message.received", "message.status_changed");
    check(&other, &[(r#""event_types":["*"],"directions":[]"#, EVENT)]);
    check(TRANSFER, &[(r#""event_types":["*"],"directions":[]"#, EVENT)]);
}

#[test]
fn ticket_statuses_and_groups_apply_to_messages_only() {
    check(
        MESSAGE,
        &[
            (r#""event_types":["*"],"ticket_statuses":["open","pending"]"#, EVENT),
            (r#""event_types":["*"],"ticket_statuses":["closed"]"#, Err(Mismatch::TicketStatuses)),
            (r#""event_types":["*"],"ticket_statuses":[]"#, Err(Mismatch::TicketStatuses)),
            (r#""event_types":["*"],"groups":false"#, EVENT),
        ],
    );
    for group in [
        MESSAGE.replace(r#""contact":{}"#, r#""contact":{"is_group":true}"#),
        MESSAGE.replace(r#""ticket":{"#, r#""ticket":{"is_group":true,"#),
    ] {
        check(
            &group,
            &[
                (r#""event_types":["*"]"#, EVENT),
                (r#""event_types":["*"],"groups":true"#, EVENT),
                (r#""event_types":["*"],"groups":false"#, Err(Mismatch::Groups)),
            ],
        );
    }
    let no_ticket = r#"{"type":"message.received"}"#;
    check(no_ticket, &[(r#""event_types":["*"],"ticket_statuses":["open"]"#, Err(Mismatch::TicketStatuses))]);
    check(TRANSFER, &[(r#""event_types":["*"],"ticket_statuses":["closed"],"groups":false"#, EVENT)]);
}

#[test]
fn a_transfer_to_a_bound_queue_is_wanted_as_the_shot_whatever_event_types() {
    let flagged = r#""start_on_transfer":true,"queue_ids":[12]"#;
    check(
        TRANSFER,
        &[
            (flagged, SHOT),
            (r#""start_on_transfer":true,"queue_ids":[12],"event_types":["message.*"]"#, SHOT),
            (r#""start_on_transfer":true,"queue_ids":[12],"event_types":["ticket.*"]"#, BOTH),
            (r#""start_on_transfer":true,"queue_ids":[12],"channel_ids":[8]"#, Err(Mismatch::ChannelIds)),
            (r#""start_on_transfer":true,"queue_ids":[9]"#, Err(Mismatch::QueueIds)),
            (r#""start_on_transfer":true"#, Err(Mismatch::EventTypes)),
            (r#""start_on_transfer":true,"event_types":["ticket.*"]"#, EVENT),
            (
                r#""start_on_transfer":true,"queue_ids":[12],"groups":false,"ticket_statuses":["open"],"directions":[]"#,
                SHOT,
            ),
            (r#""queue_ids":[12]"#, Err(Mismatch::EventTypes)),
        ],
    );
    check(MESSAGE, &[(flagged, Err(Mismatch::EventTypes))]);
}

#[test]
fn without_a_new_queue_or_a_received_message_there_is_no_shot() {
    let flagged = r#""start_on_transfer":true,"queue_ids":[12]"#;
    let both = r#""start_on_transfer":true,"queue_ids":[12],"event_types":["*"]"#;
    let no_message = TRANSFER.replace(r#""message":{"direction":"inbound"},"#, "");
    let outbound = TRANSFER.replace("inbound", "outbound");
    for event in [&no_message, &outbound] {
        check(event, &[(flagged, Err(Mismatch::NoLastMessage)), (both, EVENT)]);
    }
    let same_queue = TRANSFER.replace(r#""from":{"id":9}"#, r#""from":{"id":"12"}"#);
    check(&same_queue, &[(flagged, Err(Mismatch::EventTypes)), (both, EVENT)]);
    let from_none = TRANSFER.replace(r#""from":{"id":9}"#, r#""from":null"#);
    check(&from_none, &[(flagged, SHOT), (both, BOTH)]);
}

#[test]
fn a_subscription_is_written_as_it_was_read() {
    let text = r#"{"id":"s","endpoint_id":"e","enabled":true,"event_types":["*","message.*","ticket.closed"],"queue_ids":["-","12"],"start_on_transfer":true}"#;
    let subscription: Subscription = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&subscription).unwrap(), text);
    for wrong in
        [r#""event_types":["ticket"]"#, r#""event_types":["*.closed"]"#, r#""queue":1"#, r#""directions":["up"]"#]
    {
        let text = format!(r#"{{"id":"s","endpoint_id":"e",{wrong}}}"#);
        assert!(serde_json::from_str::<Subscription>(&text).is_err(), "{wrong}");
    }
}
