//! A delivery survives its headers, and these stay small.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{OutcomeClass, wire::HeaderValue};

fn delivery(part: Part) -> Delivery {
    let event_id = EventId::try_from("0172c866-ab67-7a10-8c1e-000000000001".to_owned()).unwrap();
    Delivery {
        event_time: 1_752_859_822_114,
        subscriptions: vec!["crm-7".into()],
        revision: 42,
        ..Delivery::owed("acme", &event_id, EventType::MESSAGE_RECEIVED, "crm", part, 1_752_859_823_000)
    }
}

fn there_and_back(delivery: &Delivery) -> Result<Delivery, BadHeader> {
    let mut message = delivery.to_message(Bytes::new());
    if let Some(due) = delivery.due {
        message.headers.set(DUE, HeaderValue::Int(ms(due)));
    }
    Delivery::from_message(&message)
}

#[test]
fn a_delivery_without_an_indispensable_header_is_not_read() {
    let whole = delivery(Part::First);
    let needed = [SCHEMA, TENANT, DELIVERY_ID, ENDPOINT, PART, EVENT_TIME, ACCEPTED_AT, ATTEMPT];
    for missing in needed {
        let mut message = whole.to_message(Bytes::new());
        message.headers.remove(missing);
        assert_eq!(Delivery::from_message(&message), Err(BadHeader(missing)));
    }
}

#[test]
fn headers_stay_below_4_kib_at_their_longest() {
    let longest = Delivery {
        subscriptions: vec!["s".repeat(63); MAX_SUBSCRIPTIONS],
        tenant: "t".repeat(63),
        endpoint_id: "integration-".to_owned() + &"e".repeat(255),
        last: Some(Attempt {
            number: u32::MAX,
            at: "2025-07-18T17:30:22.114Z".into(),
            outcome: OutcomeClass::BlockedIp,
            status: Some(599),
            duration_ms: u64::MAX,
            response_excerpt: Some("x".repeat(4_096)),
            next_due: Some("2025-07-18T17:30:22.114Z".into()),
        }),
        first_accepted_at: Some(u64::MAX >> 1),
        found_paused: u32::MAX,
        hops: u32::MAX,
        ticket_id: Some("4".repeat(128)),
        message_id: Some("é".repeat(64)),
        traceparent: Some("0".repeat(55)),
        tracestate: Some("a".repeat(10_000)),
        ..delivery(Part::SecondShot)
    };
    let message = longest.to_message(Bytes::new());
    let bytes = |(name, value): (&str, &HeaderValue)| match value {
        HeaderValue::Int(_) => name.len() + 10,
        HeaderValue::Text(text) => name.len() + text.len() + 6,
    };
    let total: usize = message.headers.iter().map(bytes).sum();
    assert!(total <= 4_096, "{total}");
    let read = there_and_back(&longest).unwrap();
    assert_eq!(read.last.as_ref().unwrap().response_excerpt, None, "the excerpt would not fit");
    assert_eq!(read.subscriptions.len(), MAX_SUBSCRIPTIONS);
    assert_eq!(there_and_back(&read).unwrap(), read, "what was cut stays as it is");
}

proptest! {
    #[test]
    fn a_delivery_survives_its_headers(
        ids in ("[a-z0-9_-]{1,20}", "[a-z0-9_-]{1,20}", vec("[a-z0-9_-]{1,8}", 0..20)),
        times in (any::<u32>(), any::<u32>(), option::of(any::<u32>()), option::of(any::<u32>())),
        counts in (1..u32::MAX, any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
        texts in (option::of("[a-z-]{1,30}"), option::of("[0-9a-f-]{55}"), option::of("[0-9A-F.]{1,64}")),
        part in prop::sample::select(vec![Part::First, Part::Second, Part::Shot, Part::SecondShot]),
    ) {
        let given = Delivery {
            tenant: ids.0, endpoint_id: ids.1, subscriptions: ids.2,
            event_time: times.0.into(), accepted_at: times.1.into(), first_accepted_at: times.2.map(Into::into), due: times.2.map(Into::into), first_at: times.3.map(Into::into),
            attempt: counts.0, deferrals: counts.1, revision: counts.2.into(), requeued: counts.3, hops: counts.4,
            found_paused: counts.5,
            replay: texts.0, traceparent: texts.1, ticket_id: texts.2.clone(), message_id: texts.2,
            ..delivery(part)
        };
        prop_assert_eq!(there_and_back(&given).unwrap(), given);
    }
}
