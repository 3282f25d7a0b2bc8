//! Ids of deliveries never change.

use super::*;

fn event_id() -> EventId {
    EventId::try_from("0172c866-ab67-7a10-8c1e-000000000001".to_owned()).unwrap()
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
        let delivery = Delivery::owed("acme", &event_id(), EventType::MESSAGE_RECEIVED, "crm", part, 0);
        assert_eq!(delivery.webhook_id(), format!("0172c866-ab67-7a10-8c1e-000000000001{suffix}"));
        assert_eq!(Part::parse(part.as_str()), Some(part));
    }
    assert_eq!(Part::parse("3"), None);
}
