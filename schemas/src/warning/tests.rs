//! What is warned about, and what is not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Acceptance, Dialect, Envelope, EventFacts, EventId, EventType, Format, SourceContext, Subscription, read};

fn acceptance() -> Acceptance {
    Acceptance::new(EventId::try_from("E-1".to_owned()).unwrap(), 1_790_000_000_000, "acme")
}

/// Warnings as `code pointer: message`.
fn lines(warnings: &[Warning]) -> Vec<String> {
    let line = |warning: &Warning| {
        format!("{} {}: {}", json!(warning.code).as_str().unwrap(), warning.pointer, warning.message)
    };
    warnings.iter().map(line).collect()
}

fn about(event: &Value) -> Vec<String> {
    lines(&Envelope::decode(event.to_string().as_bytes(), &acceptance()).unwrap().warnings())
}

#[test]
fn misspelt_types_keys_and_words_are_warned_about() {
    for (event, expected) in [
        (
            json!({"type": "mesage.received"}),
            "unknown_type /type: no such type is known, did you mean message.received?",
        ),
        (
            json!({"type": "message.recieved"}),
            "unknown_type /type: no such type is known, did you mean message.received?",
        ),
        (json!({"type": "ticket.close"}), "unknown_type /type: no such type is known, did you mean ticket.closed?"),
        (
            json!({"type": "a.b", "chanel": {"id": 4}}),
            "unknown_key /chanel: no such key is read, did you mean channel?",
        ),
        (
            json!({"type": "a.b", "occurredAt": 1}),
            "unknown_key /occurredAt: no such key is read, did you mean occurred_at?",
        ),
        (
            json!({"type": "a.b", "channel_id": 4}),
            "unknown_key /channel_id: no such key is read, did you mean /channel/id?",
        ),
        (
            json!({"type": "a.b", "ticket": {"queue_id": 4}}),
            "unknown_key /ticket/queue_id: no such key is read, did you mean /ticket/queue/id?",
        ),
        (
            json!({"type": "a.b", "message": {"texts": "x"}}),
            "unknown_key /message/texts: no such key is read, did you mean text?",
        ),
        (
            json!({"type": "a.b", "ticket": {"status": "opened"}}),
            "unknown_word /ticket/status: unknown word, did you mean open?",
        ),
        (
            json!({"type": "a.b", "actor": {"kind": "robot"}}),
            "unknown_word /actor/kind: unknown word, did you mean bot?",
        ),
    ] {
        assert_eq!(about(&event), [expected], "{event}");
    }
}

#[test]
fn types_and_keys_of_a_producers_own_are_not_warned_about() {
    for event in [
        json!({"type": "deal.won", "deal": {"id": 4}, "ip": "127.0.0.1", "time": 5, "a/b": 1, "": 2}),
        json!({"type": "ticket.rated", "ticket": {"id": 1, "rating": 5, "sla": {"due": "x"}}}),
        json!({"type": "message.read", "message": {"emoji": "x"}}),
        json!({"type": "message.edited"}),
        json!({"type": "a.b", "ticket": null, "message": {}, "original": null}),
    ] {
        assert_eq!(about(&event), Vec::<String>::new(), "{event}");
    }
}

#[test]
fn an_event_full_of_misspelt_keys_has_few_warnings() {
    let long = "x".repeat(1_000_000);
    let mut event = json!({"type": "a.b", &long: 1, "ticket": {"status": long}});
    for at in 0..10_000 {
        event[format!("chanel{at}")] = 1.into();
    }
    let warnings = about(&event);
    assert!(warnings.len() <= 21);
    assert_eq!(warnings[0], "unknown_word /ticket/status: unknown word, known are pending, open, closed");
}

fn vendor(dialect: Dialect, body: &str) -> Vec<(String, String)> {
    let source = SourceContext {
        tenant: "acme",
        source: "main",
        channel_id: None,
        keep_original: true,
        tokens: &[],
        now: 1_790_000_000_000,
        chance: [7; 10],
    };
    let warnings = read(dialect, body.as_bytes(), &source).unwrap().warnings;
    warnings.into_iter().map(|warning| (json!(warning.code).to_string(), warning.message)).collect()
}

#[test]
fn a_body_that_its_dialect_does_not_know_is_warned_about_and_another_dialect_named() {
    let lost = "whazing has no such body: only endpoints of format original get it, as vendor.unknown";
    for body in [r#"{"hello":1}"#, "[]", "\"x\"", "null", "7"] {
        assert_eq!(vendor(Dialect::Whazing, body), [("\"unknown_body\"".to_owned(), lost.to_owned())], "{body}");
    }
    for (dialect, body) in [Dialect::Whaticket, Dialect::Boticario].map(|one| (one, crate::vendor_samples(one)[0].1)) {
        let other = format!("whazing has no such body, but {} has: is the dialect right?", dialect.as_str());
        assert_eq!(vendor(Dialect::Whazing, body), [("\"unknown_body\"".to_owned(), other)]);
        assert_eq!(vendor(dialect, body), []);
    }
}

fn subscription(fields: &Value) -> Subscription {
    let mut subscription = json!({"id": "s", "endpoint_id": "crm"});
    subscription.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(subscription).unwrap()
}

/// The warnings about a subscription, as `code pointer`.
fn about_subscription(fields: &Value, format: Format) -> Vec<String> {
    let lines = lines(&subscription(fields).warnings(format));
    lines.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
}

#[test]
fn subscriptions_that_never_match_and_conditions_without_effect_are_warned_about() {
    let messages = json!(["message.received"]);
    for (fields, expected) in [
        (json!({}), vec!["never_matches /event_types"]),
        (json!({"event_types": ["*"], "channel_ids": []}), vec!["never_matches /channel_ids"]),
        (json!({"event_types": ["*"], "queue_ids": []}), vec!["never_matches /queue_ids"]),
        (json!({"event_types": messages, "directions": ["sent"]}), vec!["never_matches /directions"]),
        (json!({"event_types": messages, "directions": []}), vec!["never_matches /directions"]),
        (json!({"event_types": ["message.*"], "ticket_statuses": []}), vec!["never_matches /ticket_statuses"]),
        (json!({"event_types": ["message.recieved"]}), vec!["unknown_type /event_types"]),
        (json!({"event_types": ["tickets.*"]}), vec!["unknown_type /event_types"]),
        (json!({"event_types": ["ticket.*"], "directions": ["sent"]}), vec!["no_effect /directions"]),
        (
            json!({"event_types": ["ticket.closed"], "ticket_statuses": ["open"], "groups": false}),
            vec!["no_effect /ticket_statuses", "no_effect /groups"],
        ),
        (json!({"queue_ids": [12], "start_on_transfer": true}), vec![]),
        (json!({"event_types": ["*"], "directions": ["sent"], "groups": false, "ticket_statuses": []}), vec![]),
        (json!({"event_types": ["message.*", "deal.won", "deal.*"], "directions": ["sent"], "groups": true}), vec![]),
    ] {
        assert_eq!(about_subscription(&fields, Format::Canonical), expected, "{fields}");
    }
}

#[test]
fn types_that_the_endpoints_format_does_not_have_are_warned_about() {
    let wanted = json!({"event_types": ["deal.won", "message.*", "ticket.*", "ticket.tags_changed"]});
    let of = |format| lines(&subscription(&wanted).warnings(format));
    assert_eq!(of(Format::Canonical), Vec::<String>::new());
    let lacks = |types: &[&str], format: &str| -> Vec<String> {
        let line = |one| format!("not_in_format /event_types: {one}: the endpoint's format {format} has no such event");
        types.iter().map(line).collect()
    };
    assert_eq!(of(Format::Whazing), lacks(&["deal.won", "ticket.tags_changed"], "whazing"));
    assert_eq!(of(Format::Boticario), lacks(&["ticket.*", "deal.won", "ticket.tags_changed"], "boticario"));
    let unknown = json!({"event_types": ["vendor.unknown"]});
    assert_eq!(about_subscription(&unknown, Format::Canonical), ["not_in_format /event_types"]);
    assert_eq!(about_subscription(&unknown, Format::Original), Vec::<String>::new());
}

prop_compose! {
    fn subscriptions()(
        types in prop::collection::vec(
            prop::sample::select(vec!["*", "message.*", "message.received", "message.sent", "message.status_changed",
                "ticket.*", "ticket.closed", "deal.won"]), 0..3),
        directions in prop::option::of(prop::sample::subsequence(vec!["received", "sent"], 0..=2)),
        statuses in prop::option::of(prop::sample::subsequence(vec!["pending", "open", "closed"], 0..=3)),
        channels in prop::option::of(prop::sample::subsequence(vec![7, 8], 0..=2)),
        queues in prop::option::of(prop::sample::subsequence(vec![json!(12), json!("-")], 0..=2)),
        groups in prop::option::of(any::<bool>()),
    ) -> Subscription {
        let mut fields = json!({"id": "s", "endpoint_id": "crm", "event_types": types});
        let conditions = [("directions", json!(directions)), ("ticket_statuses", json!(statuses)),
            ("channel_ids", json!(channels)), ("queue_ids", json!(queues)), ("groups", json!(groups))];
        for (name, value) in conditions.into_iter().filter(|(_, value)| !value.is_null()) {
            fields[name] = value;
        }
        serde_json::from_value(fields).unwrap()
    }
}

/// Every event that differs in what a subscription compares.
fn events() -> Vec<Value> {
    let mut events = Vec::new();
    let types = EventType::KNOWN.iter().map(EventType::as_str).chain(["deal.won"]);
    for event_type in types {
        for (channel, queue) in [(7, None), (7, Some(12)), (8, None), (8, Some(12))] {
            for status in ["pending", "open", "closed"] {
                let ticket = json!({"status": status, "queue": queue.map(|id| json!({"id": id}))});
                events.push(json!({"type": event_type, "channel": {"id": channel}, "ticket": ticket}));
            }
        }
    }
    events
}

proptest! {
    #[test]
    fn a_subscription_never_matches_exactly_when_it_is_warned_about(subscription in subscriptions()) {
        let matches = events().iter().any(|event| {
            let text = event.to_string();
            let envelope = Envelope::decode(text.as_bytes(), &acceptance()).unwrap();
            subscription.accepts(&EventFacts::of(&envelope.event)).is_ok()
        });
        let warnings = subscription.warnings(Format::Canonical);
        let is_warned = warnings.iter().any(|warning| warning.code == WarningCode::NeverMatches);
        prop_assert_eq!(matches, !is_warned, "{:?}", warnings);
    }
}
