//! Headers survive the broker and stay small; ids never change.

use std::collections::HashMap;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::OutcomeClass;

fn event_id() -> EventId {
    EventId::try_from("0172c866-ab67-7a10-8c1e-000000000001".to_owned()).unwrap()
}

fn delivery(part: Part) -> Delivery {
    Delivery {
        event_time: 1_752_859_822_114,
        subscriptions: vec!["crm-7".into()],
        revision: 42,
        ticket: Some("1003".into()),
        ..Delivery::owed("acme", &event_id(), EventType::MESSAGE_RECEIVED, "crm", part, 1_752_859_823_000)
    }
}

fn there_and_back(delivery: &Delivery) -> Result<Delivery, BadHeader> {
    let ints: HashMap<_, _> = delivery.ints().chain(delivery.due.map(|due| (wire::DUE, due as i64))).collect();
    let texts: HashMap<_, _> = delivery.texts().collect();
    let text = |name: &str| texts.get(name).map(AsRef::as_ref);
    Delivery::read(delivery.event_id.as_str(), delivery.event_type.as_str(), |name| ints.get(name).copied(), text)
}

#[test]
fn ids_of_deliveries_never_change() {
    let id = |part| delivery_id("acme", &event_id(), "crm", part).to_string();
    assert_eq!(id(Part::First), "77763149-118c-5eca-8e17-442b94633176");
    assert_eq!(id(Part::SecondShot), "20840664-9cfd-5b6a-8ba9-be2f62824e43");
}

#[test]
fn ids_of_deliveries_differ_wherever_their_parts_are_cut() {
    let id = |tenant, endpoint| delivery_id(tenant, &event_id(), endpoint, Part::First);
    assert_ne!(id("acme", "crm"), id("acm", "ecrm"));
    assert_ne!(id("acme", "crm"), id("acme", "crm2"));
}

#[test]
fn a_receiver_deduplicates_by_the_event_and_its_part() {
    let table = [(Part::First, ""), (Part::Second, "_2"), (Part::Shot, "_shot"), (Part::SecondShot, "_shot_2")];
    for (part, suffix) in table {
        assert_eq!(delivery(part).webhook_id(), format!("0172c866-ab67-7a10-8c1e-000000000001{suffix}"));
        assert_eq!(Part::parse(part.as_str()), Some(part));
    }
    assert_eq!(Part::parse("3"), None);
}

#[test]
fn a_delivery_without_an_indispensable_header_is_not_read() {
    let whole = delivery(Part::First);
    let needed = [
        wire::SCHEMA,
        wire::TENANT,
        wire::DELIVERY_ID,
        wire::ENDPOINT,
        wire::PART,
        wire::EVENT_TIME,
        wire::ACCEPTED_AT,
        wire::ATTEMPT,
    ];
    let ints: HashMap<_, _> = whole.ints().collect();
    let texts: HashMap<_, _> = whole.texts().collect();
    for missing in needed {
        let int = |name: &str| ints.get(name).copied().filter(|_| name != missing);
        let text = |name: &str| texts.get(name).map(AsRef::as_ref).filter(|_| name != missing);
        assert_eq!(Delivery::read("id", "a.b", int, text), Err(BadHeader(missing)));
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
        ticket: Some("9".repeat(10_000)),
        traceparent: Some("0".repeat(55)),
        tracestate: Some("a".repeat(10_000)),
        ..delivery(Part::SecondShot)
    };
    let texts: usize = longest.texts().map(|(name, text)| name.len() + text.len() + 6).sum();
    let ints: usize = longest.ints().map(|(name, _)| name.len() + 10).sum();
    assert!(texts + ints <= 4_096, "{}", texts + ints);
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
        counts in (1..u32::MAX, any::<u32>(), any::<u32>()),
        texts in (option::of("[ -~é]{0,30}"), option::of("[a-z-]{1,30}"), option::of("[0-9a-f-]{55}")),
        part in prop::sample::select(vec![Part::First, Part::Second, Part::Shot, Part::SecondShot]),
    ) {
        let given = Delivery {
            tenant: ids.0, endpoint_id: ids.1, subscriptions: ids.2,
            event_time: times.0.into(), accepted_at: times.1.into(), due: times.2.map(Into::into), first_at: times.3.map(Into::into),
            attempt: counts.0, parks: counts.1, revision: counts.2.into(),
            ticket: texts.0, replay: texts.1, traceparent: texts.2,
            ..delivery(part)
        };
        prop_assert_eq!(there_and_back(&given).unwrap(), given);
    }
}
