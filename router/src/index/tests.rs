//! The index finds what asking every subscription finds.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use schemas::{Event, EventFacts, Match, Tenant};
use store::TenantSnapshot;

use super::*;

const TYPES: [&str; 6] =
    ["ticket.created", "ticket.transferred", "ticket.closed", "message.received", "message.sent", "order.paid"];

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let any: Vec<_> = ["*", "ticket.*", "message.*", "order.*"].into_iter().chain(TYPES).map(str::to_owned).collect();
    vec(select::<String>(any), 0..3)
}

fn ids() -> impl Strategy<Value = Option<Vec<String>>> {
    option::of(vec(select(vec!["1".to_owned(), "2".to_owned(), "3".to_owned(), "-".to_owned()]), 0..3))
}

prop_compose! {
    fn subscription()(
        endpoint in 0..4_u8,
        enabled in prop::bool::weighted(0.9),
        event_types in patterns(),
        channel_ids in ids(),
        queue_ids in ids(),
        directions in option::of(vec(select(vec!["received", "sent"]), 0..2)),
        ticket_statuses in option::of(vec(select(vec!["pending", "open", "closed"]), 0..3)),
        groups in option::of(any::<bool>()),
        start_on_transfer in any::<bool>(),
    ) -> serde_json::Value {
        let mut json = serde_json::json!({
            "id": "?", "endpoint_id": format!("e{endpoint}"), "enabled": enabled, "event_types": event_types,
            "start_on_transfer": start_on_transfer,
        });
        let mut set = |name: &str, value: serde_json::Value| {
            if !value.is_null() {
                json[name] = value;
            }
        };
        set("channel_ids", serde_json::json!(channel_ids));
        set("queue_ids", serde_json::json!(queue_ids));
        set("directions", serde_json::json!(directions));
        set("ticket_statuses", serde_json::json!(ticket_statuses));
        set("groups", serde_json::json!(groups));
        json
    }
}

prop_compose! {
    fn event()(
        event_type in select(TYPES.to_vec()),
        channel in option::of(1..4_i64),
        queue in option::of(1..4_i64),
        from_queue in option::of(1..4_i64),
        status in option::of(select(vec!["pending", "open", "closed"])),
        is_group in any::<bool>(),
        message in option::of(select(vec!["inbound", "outbound"])),
    ) -> Event {
        let department = |id: Option<i64>| id.map(|id| serde_json::json!({"id": id}));
        let change = serde_json::json!({"kind": "queue", "from": department(from_queue), "to": department(queue)});
        let json = serde_json::json!({
            "type": event_type,
            "channel": {"id": channel},
            "ticket": {"id": 1, "status": status, "is_group": is_group, "queue": department(queue)},
            "message": message.map(|direction| serde_json::json!({"direction": direction})),
            "change": if event_type == "ticket.transferred" { change } else { serde_json::Value::Null },
        });
        serde_json::from_str(&json.to_string()).expect("an event")
    }
}

fn tenant(subscriptions: Vec<serde_json::Value>) -> TenantSnapshot {
    let numbered = subscriptions.into_iter().enumerate().map(|(at, mut subscription)| {
        subscription["id"] = serde_json::json!(format!("s{at:03}"));
        serde_json::from_value(subscription).expect("a subscription")
    });
    let subscriptions = numbered.collect();
    Tenant {
        retention: None,
        id: "acme".into(),
        name: None,
        quota: None,
        endpoints: vec![],
        subscriptions,
        sources: vec![],
        keys: vec![],
    }
    .into()
}

/// Asks every subscription.
fn naive<'a>(tenant: &'a TenantSnapshot, facts: &EventFacts<'_>) -> BTreeMap<&'a str, (Match, Vec<&'a str>)> {
    let mut interests = BTreeMap::<&str, (Match, Vec<&str>)>::new();
    for subscription in tenant.subscriptions.iter().filter(|subscription| subscription.enabled) {
        if let Ok(wanted) = subscription.accepts(facts) {
            let interest = interests.entry(&subscription.endpoint_id).or_default();
            interest.0.event |= wanted.event;
            interest.0.shot |= wanted.shot;
            interest.1.push(&subscription.id);
        }
    }
    interests
}

proptest! {
    #[test]
    fn the_index_finds_what_asking_every_subscription_finds(
        subscriptions in vec(subscription(), 0..40),
        events in vec(event(), 1..20),
    ) {
        let tenant = tenant(subscriptions);
        let index = Index::new(&tenant.subscriptions);
        for event in &events {
            let facts = EventFacts::of(event);
            let found: BTreeMap<_, _> = index
                .interests(&tenant, &facts)
                .into_iter()
                .map(|(endpoint, mut interest)| {
                    interest.subscriptions.sort_unstable();
                    (endpoint, (interest.wanted, interest.subscriptions))
                })
                .collect();
            prop_assert_eq!(found, naive(&tenant, &facts));
        }
    }
}
