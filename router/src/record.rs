//! What history records of an event: which deliveries it made, and which subscriptions made none, with the reason.

use bytes::Bytes;
use history::{EventRecord, MAX_UNMATCHED, OwedDelivery, Record, Unmatched, tenant_scope};
use schemas::{Acceptance, Contact, Envelope, EventFacts, EventType, Id, Subscription};
use store::TenantSnapshot;

use crate::fan_out::{FanOut, Unrendered};

/// Most subscriptions that are looked at for why they made no delivery, since a tenant may have thousands.
const MAX_EXPLAINED: usize = 100;
/// The reasons besides the dimensions of a subscription.
const DISABLED: &str = "disabled";
const UNRENDERED: &str = "format_has_no_such_event";

pub(crate) fn event_record(
    envelope: &Envelope<'_>,
    acceptance: &Acceptance,
    tenant: &TenantSnapshot,
    fan_out: &FanOut,
) -> Record {
    let event = &envelope.event;
    let ticket = event.ticket.as_ref();
    let facts = EventFacts::of(event);
    let text = |id: Option<&str>| id.map(str::to_owned);
    let mut bodies = vec![event_body(envelope)];
    let deliveries = fan_out.deliveries.iter().map(|outgoing| OwedDelivery {
        id: outgoing.delivery.id,
        endpoint_id: outgoing.delivery.endpoint_id.clone(),
        part: outgoing.delivery.part.as_str().to_owned(),
        subscriptions: outgoing.delivery.subscriptions.clone(),
        body: place(&mut bodies, &outgoing.body),
        run_began: acceptance.accepted_at,
    });
    Record::Event(Box::new(EventRecord {
        tenant: tenant_scope(&acceptance.tenant, tenant.created()),
        id: envelope.id.clone(),
        event_type: event.event_type.clone(),
        source: event.source.platform.clone(),
        accepted_at: acceptance.accepted_at,
        occurred_at: envelope.occurred_at_ms,
        channel_id: text(facts.channel_id),
        queue_id: text(facts.queue_id),
        ticket_id: text(ticket.and_then(|ticket| ticket.id.as_ref()).map(Id::text)),
        protocol: text(ticket.and_then(|ticket| ticket.protocol.as_deref())),
        contact: event.contact.as_ref().and_then(contact),
        deliveries: deliveries.collect(),
        unmatched: unmatched(&facts, &tenant.subscriptions, &fan_out.unrendered),
        bodies,
    }))
}

/// The event as an endpoint of format `canonical` would get it, without secrets. An event of unknown kind has nothing but its
/// original.
fn event_body(envelope: &Envelope<'_>) -> Bytes {
    let original = match envelope.event.event_type == EventType::VENDOR_UNKNOWN {
        true => envelope.original(),
        false => None,
    };
    original.map_or_else(|| envelope.canonical().into(), |body| body.into_owned().into())
}

/// The place of a body among those of its event, where it is added if it is new.
fn place(bodies: &mut Vec<Bytes>, body: &Bytes) -> usize {
    bodies.iter().position(|known| known == body).unwrap_or_else(|| {
        bodies.push(body.clone());
        bodies.len() - 1
    })
}

/// The contact's number; its id where it has none.
fn contact(contact: &Contact) -> Option<String> {
    let number = contact.number.as_deref().filter(|number| !number.is_empty());
    number.or_else(|| contact.id.as_ref().map(Id::text)).map(str::to_owned)
}

/// Why subscriptions made no delivery, those first that came closest to one.
fn unmatched(facts: &EventFacts<'_>, subscriptions: &[Subscription], unrendered: &[Unrendered]) -> Vec<Unmatched> {
    let unmatched = |subscription_id: &str, endpoint_id: &str, reason: &str| Unmatched {
        subscription_id: subscription_id.to_owned(),
        endpoint_id: endpoint_id.to_owned(),
        reason: reason.to_owned(),
    };
    let unrendered = unrendered
        .iter()
        .flat_map(|endpoint| endpoint.subscriptions.iter().map(|id| unmatched(id, &endpoint.endpoint_id, UNRENDERED)));
    let mut found: Vec<_> = unrendered.take(MAX_UNMATCHED).collect();
    let mut others: Vec<_> = subscriptions
        .iter()
        .take(MAX_EXPLAINED)
        .filter_map(|subscription| match (subscription.enabled, subscription.accepts(facts)) {
            (false, Ok(_)) => Some((usize::MAX, DISABLED, subscription)),
            (false, Err(_)) => Some((0, DISABLED, subscription)),
            (true, Err(mismatch)) => Some((mismatch.matched_dimensions(), mismatch.as_str(), subscription)),
            (true, Ok(_)) => None,
        })
        .collect();
    others.sort_by_key(|(closeness, ..)| std::cmp::Reverse(*closeness));
    let room = MAX_UNMATCHED.saturating_sub(found.len());
    found.extend(others.into_iter().take(room).map(|(_, reason, one)| unmatched(&one.id, &one.endpoint_id, reason)));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subscriptions(described: serde_json::Value) -> Vec<Subscription> {
        serde_json::from_value(described).expect("subscriptions")
    }

    #[test]
    fn subscriptions_that_came_close_are_named_first() {
        let event_type = "ticket.created".to_owned().try_into().expect("a type");
        let event = schemas::Event::new(event_type);
        let facts = EventFacts { channel_id: Some("7"), ..EventFacts::of(&event) };
        let subscriptions = subscriptions(json!([
            {"id": "other-type", "endpoint_id": "a", "event_types": ["message.received"]},
            {"id": "other-queue", "endpoint_id": "b", "event_types": ["*"], "channel_ids": [7], "queue_ids": [1]},
            {"id": "other-channel", "endpoint_id": "c", "event_types": ["*"], "channel_ids": [8]},
            {"id": "all", "endpoint_id": "d", "event_types": ["*"]},
            {"id": "off", "endpoint_id": "e", "event_types": ["*"], "enabled": false},
        ]));
        let unrendered = [Unrendered { endpoint_id: "f".into(), subscriptions: vec!["no-format".into()] }];
        let found = unmatched(&facts, &subscriptions, &unrendered);
        let found: Vec<_> = found.iter().map(|one| (&*one.subscription_id, &*one.reason)).collect();
        let expected = [
            ("no-format", "format_has_no_such_event"),
            ("off", "disabled"),
            ("other-queue", "queue_ids"),
            ("other-channel", "channel_ids"),
            ("other-type", "event_types"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tenant_with_thousands_of_subscriptions_has_twenty_explained() {
        let event = schemas::Event::new(EventType::TICKET_CREATED);
        let many = (0..5_000).map(|id| json!({"id": format!("s{id}"), "endpoint_id": "a", "event_types": ["x.y"]}));
        let found = unmatched(&EventFacts::of(&event), &subscriptions(many.collect()), &[]);
        assert_eq!(found.len(), MAX_UNMATCHED);
    }
}
