//! Rendered, read and rendered again, any event gives the same bytes.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{Timestamp, WhazingShape};

fn text() -> impl Strategy<Value = String> {
    "[ -~áéíõ\u{200e}\u{1f600}\n]{0,12}"
}

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        "[!-~]{1,8}".prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
    ]
}

fn nullable(strategy: impl Strategy<Value = impl Into<Value> + std::fmt::Debug>) -> impl Strategy<Value = Value> {
    option::of(strategy).prop_map(|value| value.map_or(Value::Null, Into::into))
}

fn contact() -> impl Strategy<Value = Value> {
    let ids = (nullable(id()), nullable(id()), nullable(id()));
    let texts = (nullable(text()), nullable("\\+?[0-9]{1,17}"), nullable(text()), nullable(text()), nullable(text()));
    (ids, texts, any::<bool>(), vec(id(), 0..3)).prop_map(|(ids, texts, flag, extra)| {
        json!({"id": ids.0, "name": texts.0, "number": texts.1, "email": texts.2, "profile_pic_url": texts.3,
            "is_group": flag, "pushname": texts.4, "kanban_id": ids.1, "followup_id": ids.2, "active": flag,
            "extra_info": extra})
    })
}

fn ticket() -> impl Strategy<Value = Value> {
    let ids = (nullable(id()), nullable(id()), nullable(id()), nullable(id()));
    // A ticket has a status: without one, a snapshot of "before" shows the one after.
    let texts = (text().prop_map(Value::from), nullable(text()), nullable(text()), nullable(text()));
    let numbers = (nullable(any::<i64>()), any::<bool>(), vec(id(), 0..3));
    (ids, texts, numbers).prop_map(|(ids, texts, (unread, is_group, tags))| {
        let tags: Vec<_> =
            tags.iter().map(|id| json!({"id": id, "name": texts.3, "link": {"created_at": "x"}})).collect();
        let queue = (!ids.1.is_null()).then(|| json!({"id": ids.1, "name": texts.2, "color": texts.3}));
        let assignee = (!ids.2.is_null()).then(|| json!({"id": ids.2, "name": texts.0}));
        json!({"id": ids.0, "status": texts.0, "protocol": texts.1, "last_message": texts.2, "is_group": is_group,
            "closing_reason_id": ids.3, "queue": queue, "assignee": assignee, "tags": tags,
            "api_config": {"externalKey": texts.3, "n": ids.0}, "unread_messages": unread, "created_at": texts.3})
    })
}

fn message() -> impl Strategy<Value = Value> {
    let ids = (nullable(id()), nullable(id()), nullable(id()), nullable(id()));
    let texts = (nullable(text()), nullable(text()), nullable(text()), nullable("\\+?[0-9]{1,17}"));
    let kind = prop_oneof![Just("chat"), Just("text"), Just("image"), Just("application"), Just("audio")];
    let sent_at = 1_000_000_000_000_i64..4_000_000_000_000;
    (ids, texts, kind, sent_at, nullable("https://[a-z]{1,5}\\.example/([a-z]{1,4}/){0,2}[a-z]{1,4}")).prop_map(
        |(ids, texts, kind, sent_at, url)| {
            let media = (!url.is_null()).then(|| json!({"url": url, "caption": texts.1, "base64": texts.2}));
            json!({"id": ids.0, "provider_id": ids.1, "conversation_id": ids.2, "context_id": ids.3, "media_type": kind,
                "text": texts.0, "status": texts.1, "send_type": texts.2, "sent_at_ms": sent_at, "to": texts.3,
                "reactions": [ids.0, {"b": 1, "a": texts.0}], "raw": {"x": ids.1}, "media": media})
        },
    )
}

fn event() -> impl Strategy<Value = Value> {
    let kinds = [
        "ticket.created",
        "ticket.opened",
        "ticket.transferred",
        "ticket.closed",
        "ticket.tags_changed",
        "message.received",
        "message.sent",
        "message.status_changed",
        "webhook.test",
    ];
    let actor = prop_oneof![Just("user"), Just("contact")];
    let objects = (ticket(), option::of(contact()), option::of(contact()), message());
    (prop::sample::select(kinds.to_vec()), objects, (id(), nullable(text()), actor, text())).prop_map(
        |(kind, (ticket, contact, participant, message), (channel_id, name, actor, webhook))| {
            let change = match kind {
                "ticket.opened" | "ticket.closed" => json!({"kind": "status", "from": ticket["status"], "to": "closed"}),
                "ticket.tags_changed" => json!({"kind": "tags", "from": [], "to": [{"id": 1, "name": name, "kanban": 1}]}),
                "message.status_changed" => json!({"kind": "message_status", "to": "read"}),
                _ => Value::Null,
            };
            json!({"type": kind, "occurred_at": "2025-07-18T17:30:22.114Z", "tenant": {"id": 1, "name": name},
                "channel": {"id": channel_id, "name": name, "kind": "whatsapp", "webhook_url": webhook}, "change": change,
                "actor": {"kind": actor}, "ticket": ticket, "contact": contact, "participant": participant,
                "message": message})
        },
    )
}

fn options() -> impl Strategy<Value = FormatOptions> {
    let timestamps = prop_oneof![Just(Timestamp::S), Just(Timestamp::Ms), Just(Timestamp::String)];
    let shapes = prop_oneof![Just(WhazingShape::V2_15), Just(WhazingShape::V2_16)];
    (timestamps, shapes).prop_map(|(timestamp, shape)| FormatOptions { timestamp, shape, ..Default::default() })
}

proptest! {
    #[test]
    fn a_rendered_body_is_read_and_rendered_the_same(event in event(), options in options()) {
        let text = event.to_string();
        let envelope = decode(&text);
        let dialects = [
            (Format::Whazing, Dialect::Whazing),
            (Format::Whaticket, Dialect::Whaticket),
            (Format::Boticario, Dialect::Boticario),
        ];
        for (format, dialect) in dialects {
            for body in render(&envelope, format, &options, EVENT) {
                let again = read(dialect, &body.bytes, &source_context()).unwrap();
                prop_assert_ne!(&again.event.event_type, &EventType::VENDOR_UNKNOWN);
                let back = render(&decode(&again.envelope), format, &options, EVENT);
                prop_assert_eq!(texts(&back), texts(std::slice::from_ref(&body)));
            }
        }
    }

    #[test]
    fn no_body_of_any_shape_makes_an_envelope_that_cannot_be_decoded(
        shape in prop::sample::select(vec!["whazing-channel-message", "whazing-channel-ClosedTicket", "whaticket-message",
            "whaticket-file", "whaticket-tags", "boticario-response", "boticario-status-read", "whazing-test"]),
        at in any::<prop::sample::Index>(),
        odd in prop::sample::select(vec!["null", "1e999", "-0", "1.0", "\"\"", "[]", "{}", "[{}]", "true", "\"\\ud800\"", "99999999999999999999"]),
    ) {
        let body = compact(&fixture(&format!("vendor/{shape}.json"))).into_owned();
        let spots: Vec<_> = body.match_indices(':').map(|(at, _)| at + 1).filter(|at| !body[..*at].ends_with("s:")).collect();
        let spot = spots[at.index(spots.len())];
        let value = serde_json::Deserializer::from_str(&body[spot..]).into_iter::<Box<serde_json::value::RawValue>>().next();
        let Some(Ok(value)) = value else { return Ok(()) };
        let changed = format!("{}{odd}{}", &body[..spot], &body[spot + value.get().len()..]);
        prop_assume!(serde_json::from_str::<serde::de::IgnoredAny>(&changed).is_ok());
        for dialect in Dialect::ALL {
            let read = read(dialect, changed.as_bytes(), &source_context()).unwrap();
            let envelope = decode(&read.envelope);
            prop_assert_eq!(envelope.original().unwrap(), changed.as_bytes());
        }
    }
}
