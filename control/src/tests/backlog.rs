//! How much waits for an endpoint.

use std::sync::Arc;

use broker::{Broker, Lane, Target, memory::Memory};
use schemas::{Counts, HeaderValue, Message, wire};
use store::{MemoryStore, Store, UsageReport};

use super::fixture::{Fixture, NOW};
use crate::{BacklogCount, CountMethod};

#[tokio::test]
async fn a_backlog_is_counted_exactly_where_the_broker_shows_its_lanes() {
    let fixture = Fixture::new();
    for (tenant, endpoint) in [("acme", "crm"), ("acme", "crm"), ("acme", "bi"), ("zeta", "crm")] {
        let mut message = Message { id: "e1".into(), ..Message::default() };
        message.headers.set(wire::TENANT, HeaderValue::Text(tenant.into()));
        message.headers.set(wire::ENDPOINT, HeaderValue::Text(endpoint.into()));
        fixture.broker.publish(&Target::Lane(Lane::Slow, None), &message).await.unwrap();
    }
    let expected = BacklogCount { waiting: 2, counted: CountMethod::Exactly };
    assert_eq!(fixture.control.backlog("acme", "crm").await.unwrap(), Some(expected));
    assert_eq!(serde_json::to_value(expected).unwrap(), serde_json::json!({"waiting": 2, "counted": "exactly"}));
}

#[tokio::test]
async fn a_backlog_is_estimated_elsewhere_from_what_was_made_and_has_ended() {
    let store = Arc::new(MemoryStore::default());
    let report = |endpoint: &str, day: &str, counts| UsageReport {
        process: "p".into(),
        sequence: 1,
        tenant: "acme".into(),
        endpoint_id: Some(endpoint.into()),
        day: day.into(),
        counts,
    };
    let made = Counts { deliveries: 10, delivered: 3, ..Counts::default() };
    let ended = Counts { delivered: 2, dead: 1, attempts: 9, ..Counts::default() };
    let reports = vec![
        report("crm", "2026-11-20", made),
        report("crm", "2026-11-21", ended),
        report("bi", "2026-11-21", made),
        report("new", "2026-11-21", ended),
    ];
    store.usage_and_audit().unwrap().record_usage(reports).await.unwrap();
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store);
    fixture.broker.hide_lanes();
    let estimated = |waiting| Some(BacklogCount { waiting, counted: CountMethod::Estimated });
    assert_eq!(fixture.control.backlog("acme", "crm").await.unwrap(), estimated(4));
    assert_eq!(fixture.control.backlog("acme", "new").await.unwrap(), estimated(0), "never less than none");
    let fixture = Fixture::new();
    fixture.broker.hide_lanes();
    assert_eq!(fixture.control.backlog("acme", "crm").await.unwrap(), None, "nobody can know");
}

#[tokio::test]
async fn a_tenant_counts_what_waits_once_at_a_time() {
    let fixture = Fixture::new();
    let path = "/v1/tenants/acme/endpoints/crm/waiting";
    let counting = fixture.control.backlog_counts.try_acquire("acme");
    let (status, refused) = fixture.ask("GET", path, "").await;
    assert_eq!((status, &refused["code"]), (429, &"too_many_requests".into()));
    assert_eq!(fixture.control.backlog("zeta", "crm").await.unwrap().unwrap().waiting, 0, "another tenant counts");
    drop(counting);
    assert_eq!(fixture.ask("GET", path, "").await.0, 200);
}
