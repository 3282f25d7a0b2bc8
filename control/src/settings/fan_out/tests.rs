//! The search against trying every event there is.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "what is described is given away: the calls read like tables")]
fn tenant(endpoints: Value, subscriptions: Value) -> Tenant {
    serde_json::from_value(json!({"id": "acme", "endpoints": endpoints, "subscriptions": subscriptions})).unwrap()
}

fn endpoints(count: usize, format: &str) -> Value {
    (0..count).map(|nth| json!({"id": format!("e{nth}"), "url": "https://e.example/", "format": format})).collect()
}

#[test]
fn subscriptions_that_no_event_matches_together_do_not_add_up() {
    let apart: Value = (0..4)
        .map(|nth| json!({"id": format!("s{nth}"), "endpoint_id": format!("e{nth}"), "event_types": ["*"], "channel_ids": [nth]}))
        .collect();
    let apart = tenant(endpoints(4, "canonical"), apart);
    assert!(!exceeds(&apart, 1) && exceeds(&apart, 0));
}

#[test]
fn an_endpoint_counts_once_and_each_part_of_a_body() {
    let twice = json!([
        {"id": "a", "endpoint_id": "e0", "event_types": ["message.*"]},
        {"id": "b", "endpoint_id": "e0", "event_types": ["*"], "queue_ids": [1], "start_on_transfer": true},
    ]);
    assert!(!exceeds(&tenant(endpoints(1, "canonical"), twice.clone()), 1));
    let media = tenant(endpoints(1, "whaticket"), twice);
    assert!(exceeds(&media, 2), "a transfer's own body and the two of its shot");
    assert!(!exceeds(&media, 3));
}

#[test]
fn what_is_disabled_makes_nothing() {
    let off = json!([{"id": "a", "endpoint_id": "e0", "event_types": ["*"], "enabled": false}]);
    assert!(!exceeds(&tenant(endpoints(1, "canonical"), off), 0));
}

#[test]
fn ten_thousand_intricate_subscriptions_are_judged_quickly() {
    let many: Value = (0..10_000)
        .map(|nth| {
            json!({"id": format!("s{nth}"), "endpoint_id": format!("e{}", nth % 3_000), "event_types": ["*"],
                "channel_ids": [nth % 50, nth % 49], "queue_ids": [nth % 47, nth % 43]})
        })
        .collect();
    let mut search = Search { endpoints: BTreeMap::new(), limit: 1_000, visits: 0 };
    let tenant = tenant(endpoints(3_000, "canonical"), many);
    search.endpoints = tenant.endpoints.iter().map(|endpoint| (endpoint.id.as_str(), endpoint)).collect();
    let subscriptions: Vec<_> = tenant.subscriptions.iter().collect();
    for event_type in types(&subscriptions) {
        search.of_type(&event_type, &subscriptions);
    }
    assert!(search.visits < MOST_VISITS + 20_000, "{}", search.visits);
}

/// Every event of a small world.
fn brute_force(tenant: &Tenant) -> usize {
    let types = ["message.received", "message.sent", "message.other", "ticket.created", "ticket.transferred", "x.y"];
    let mut most = 0;
    for event_type in types.map(|name| EventType::try_from(name.to_owned()).unwrap()) {
        let direction = match event_type.as_str() {
            "message.received" => Some(MessageDirection::Received),
            "message.sent" => Some(MessageDirection::Sent),
            _ => None,
        };
        for nth in 0..4 * 4 * 4 * 8 {
            let one_of = |at: usize| [None, Some("1"), Some("2"), Some("3")][nth / 4_usize.pow(at as u32) % 4];
            let status = [None, Some("pending"), Some("open"), Some("closed")][nth / 16 % 4];
            let flag = |at: usize| (nth / 64) >> at & 1 == 1;
            let facts = EventFacts {
                event_type: &event_type,
                channel_id: one_of(0),
                queue_id: one_of(1),
                direction,
                ticket_status: status,
                is_group: flag(0),
                to_other_queue: flag(1) && event_type == EventType::TICKET_TRANSFERRED,
                has_received_message: flag(2),
            };
            let endpoints = tenant.endpoints.iter().map(|endpoint| (endpoint.id.as_str(), endpoint)).collect();
            let subscriptions: Vec<_> =
                tenant.subscriptions.iter().filter(|subscription| subscription.enabled).collect();
            most = most.max(Search { endpoints, limit: 0, visits: 0 }.deliveries(&facts, &subscriptions));
        }
    }
    most
}

fn subsets(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let some = prop::sample::subsequence(values.to_vec(), 0..=values.len()).prop_map(|some| json!(some));
    prop_oneof![2 => Just(Value::Null), 3 => some]
}

fn subscription() -> impl Strategy<Value = Value> {
    let types = prop::sample::subsequence(
        vec!["*", "message.*", "ticket.*", "message.received", "message.sent", "ticket.created", "x.y"],
        0..=3,
    );
    let dimensions = (
        subsets(&["1", "2", "3"]),
        subsets(&["-", "1", "2", "3"]),
        subsets(&["received", "sent"]),
        subsets(&["pending", "open", "closed"]),
    );
    (0..4_usize, types, dimensions, prop::option::of(any::<bool>()), any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(endpoint, types, (channels, queues, directions, statuses), groups, start, enabled)| {
            let start = start && queues.as_array().is_some_and(|queues| !queues.is_empty());
            json!({"id": "s", "endpoint_id": format!("e{endpoint}"), "event_types": types, "channel_ids": channels,
                "queue_ids": queues, "directions": directions, "ticket_statuses": statuses, "groups": groups,
                "start_on_transfer": start, "enabled": enabled})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_worst_event_is_found(
        subscriptions in prop::collection::vec(subscription(), 0..6),
        formats in prop::collection::vec(prop::sample::select(vec!["canonical", "whazing", "whaticket"]), 4),
    ) {
        let endpoints = formats.iter().enumerate();
        let endpoints = endpoints.map(|(nth, format)| json!({"id": format!("e{nth}"), "url": "u", "format": format}));
        let tenant = tenant(endpoints.collect(), subscriptions.into());
        let most = brute_force(&tenant);
        prop_assert!(!exceeds(&tenant, most), "more than {most}");
        prop_assert!(most == 0 || exceeds(&tenant, most - 1), "not even {most}");
    }
}
