//! A message that cannot be routed is parked with its reason, readable and whole, and delays no other.

use std::{collections::BTreeMap, time::Duration};

use broker::{Lane, Queue};
use schemas::{DeadLetterRetention, HeaderValue, ParkReason, RetentionLevels, wire};
use serde_json::json;
use store::{Pulled, StoreError};

use super::fixture::{Fixture, MAX_PUBLISHED, START, Sent, acme, event, one, raw, received, second_snapshot};

/// Routes it and an ordinary event behind it: the first is parked for `reason`, the second delivered.
async fn is_parked(sent: &Sent, reason: ParkReason) {
    let fixture = Fixture::of(&one());
    fixture.publish(sent).await;
    fixture.route(&received("after")).await;
    let parked = fixture.parked();
    assert!(!parked.is_empty(), "{reason}");
    for (record, carrier) in parked {
        assert_eq!(record.reason, reason, "{:?}", record.detail);
        assert_eq!(record.event_id.as_deref(), Some(sent.message.id.as_str()).filter(|id| !id.is_empty()));
        assert_eq!(record.routing_key.as_deref(), Some(sent.key.as_str()));
        assert!(record.parked_at.is_some());
        assert_eq!(carrier.key, record.key());
        assert_eq!(carrier.message.body, sent.message.body, "the original body");
    }
    assert_eq!(fixture.metrics.parked.with_label_values(&[reason.as_str()]).get(), fixture.parked().len() as u64);
    let delivered = fixture.deliveries().await;
    assert!(delivered.values().all(|(delivery, _)| delivery.event_id.as_str() == "after"));
    assert_eq!(delivered.len(), 1);
}

/// The event as a foreign publisher sends it, whose routing key alone names the tenant.
fn without_tenant(mut sent: Sent) -> Sent {
    sent.message.headers.remove(wire::TENANT);
    sent
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_json_object_is_parked_as_decode() {
    for body in ["", "{", "[]", "\"text\"", "{\"type\":\"a.b\"} x"] {
        is_parked(&raw("e1", "a.b", body), ParkReason::Decode).await;
    }
    is_parked(&raw("e1", "a.b", vec![b'{', 0xff, b'}']), ParkReason::Decode).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_event_is_parked_as_schema() {
    for envelope in [json!({}), json!({"type": "nonsense"}), json!({"type": "a.b", "spec": "other/9"})] {
        is_parked(&event("e1", &envelope), ParkReason::Schema).await;
    }
    let mut sent = received("e1");
    sent.message.headers.set(wire::SCHEMA, HeaderValue::Int(2));
    is_parked(&sent, ParkReason::Schema).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_goes_round_in_a_loop_is_parked_as_schema() {
    for hops in [4, i64::MAX] {
        let mut sent = received("e1");
        sent.message.headers.set(wire::HOPS, HeaderValue::Int(hops));
        is_parked(&sent, ParkReason::Schema).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_without_or_with_contradictory_ids_is_parked_as_identity() {
    for id in ["", "not an id", &"x".repeat(65)] {
        is_parked(
            &Sent { message: schemas::Message { id: id.into(), ..received("e1").message }, ..received("e1") },
            ParkReason::Identity,
        )
        .await;
    }
    is_parked(&event("e1", &json!({"type": "a.b", "id": "e2"})), ParkReason::Identity).await;
    let mut foreign = received("e1");
    foreign.message.headers.set(wire::TENANT, HeaderValue::Text("beta".into()));
    is_parked(&foreign, ParkReason::Identity).await;
    is_parked(&Sent { key: "nonsense".into(), ..received("e1") }, ParkReason::Identity).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_without_the_tenants_header_belongs_to_whom_its_routing_key_says() {
    let fixture = Fixture::of(&one());
    let mut sent = received("e1");
    sent.message.headers.remove(wire::TENANT);
    fixture.route(&sent).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_type_that_fits_no_property_is_parked_as_schema() {
    let kind = format!("a.{}", "b".repeat(300));
    is_parked(&Sent { key: "acme.7.-.a.b".into(), ..event("e1", &json!({"type": kind})) }, ParkReason::Schema).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_larger_than_the_parked_log_takes_is_parked_as_an_excerpt() {
    let fixture = Fixture::of(&one());
    fixture.publish(&raw("e1", "a.b", "x".repeat(20_000))).await;
    fixture.memory.take_at_most(10_000);
    fixture.idle().await;
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!((record.reason, carrier.message.body.len()), (ParkReason::Decode, 4_096));
    assert!(record.detail.unwrap().ends_with("; the first 4096 are kept"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tenant_is_looked_for_before_its_event_is_parked() {
    let fixture = Fixture::of(&json!([]));
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.parked()[0].0.reason, ParkReason::Tenant);
    assert!(fixture.store.pulls() >= 1);

    let new = second_snapshot(&one());
    fixture.store.when_pulled(move || Pulled::Snapshot(new.clone()));
    fixture.route(&received("e2")).await;
    assert_eq!(fixture.addressed().await, [("crm".to_owned(), String::new())], "the tenant is new");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_unknown_tenant_waits_while_the_store_is_away_and_others_do_not() {
    let fixture = Fixture::of(&one());
    let away = || Pulled::Failure(StoreError("away".to_owned()));
    fixture.store.when_pulled(away);
    fixture.publish(&Sent { key: "zeta.7.-.a.b".into(), ..without_tenant(received("e1")) }).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(fixture.parked().is_empty(), "nobody knows yet whether there is such a tenant");
    fixture.publish(&received("e2")).await;
    assert_eq!(fixture.deliveries().await.len(), 1, "the pipeline is alive");
    fixture.store.when_pulled(|| Pulled::Silence);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.parked().is_empty());
    fixture.store.when_pulled(|| Pulled::Nothing);
    fixture.idle().await;
    assert_eq!(fixture.parked()[0].0.reason, ParkReason::Tenant, "the store itself has said so");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_the_store_is_given_back_at_shutdown() {
    let fixture = Fixture::of(&json!([]));
    fixture.store.when_pulled(|| Pulled::Silence);
    fixture.publish(&received("e1")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.stop().await.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_tenant_can_have_is_not_in_the_key_of_the_record() {
    let fixture = Fixture::of(&one());
    let name = "x".repeat(240);
    let sent = Sent { key: format!("{name}.7.-.a.b"), ..without_tenant(received("e1")) };
    fixture.route(&sent).await;
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!((carrier.key.as_str(), record.tenant), ("tenant.-", Some(name)));
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_anything_published_is_parked_as_too_large() {
    is_parked(&raw("e1", "a.b", vec![b' '; MAX_PUBLISHED + 1]), ParkReason::TooLarge).await;
    is_parked(&raw("", "a.b", vec![b' '; 1 << 20]), ParkReason::TooLarge).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_of_more_than_a_mebibyte_is_kept_as_an_excerpt_with_its_size_and_digest() {
    let fixture = Fixture::of(&one());
    let body = vec![b' '; (1 << 20) + 1];
    fixture.route(&raw("e1", "a.b", body.clone())).await;
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!(record.reason, ParkReason::TooLarge);
    assert_eq!(carrier.message.body, body[..4096]);
    let detail = record.detail.unwrap();
    assert!(detail.starts_with("1048577 bytes, sha256:"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_would_make_too_many_deliveries_is_parked_whole() {
    let ids: Vec<_> = (0..201).map(|n| format!("e{n}")).collect();
    let endpoints: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let wants = |ids: &[String]| {
        let wants = ids.iter().map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]}));
        json!(wants.collect::<Vec<_>>())
    };
    let fixture = Fixture::of(&acme(&json!(endpoints), &wants(&ids)));
    fixture.route(&received("e1")).await;
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!(record.reason, ParkReason::FanoutLimit);
    assert_eq!(record.detail.as_deref(), Some("more than 200 deliveries"));
    assert_eq!(carrier.message.body, received("e1").message.body);
    assert!(fixture.deliveries().await.is_empty(), "not even some of them");

    fixture.set_tenants(&acme(&json!(endpoints), &wants(&ids[1..])));
    fixture.route(&received("e2")).await;
    let routed = fixture.deliveries().await.len() + fixture.deliveries_in(Lane::Slow).await.len();
    assert_eq!(routed, 200, "as many as are allowed");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_tried_again_after_a_panic_and_parked_after_the_second() {
    let fixture = Fixture::of(&one());
    fixture.store.panic_when_read(1);
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    assert!(fixture.parked().is_empty());

    fixture.store.panic_when_read(2);
    fixture.route(&received("e2")).await;
    fixture.store.panic_when_read(0);
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!(record.reason, ParkReason::Panic);
    assert_eq!(carrier.message.body, received("e2").message.body);
    fixture.route(&received("e3")).await;
    assert_eq!(fixture.memory.depth(Queue::Ingest), 0, "the router goes on");
}

#[tokio::test(start_paused = true)]
async fn a_record_stays_small_and_has_no_foreign_headers_whatever_is_sent() {
    let fixture = Fixture::of(&one());
    let deep = "[".repeat(200) + &"]".repeat(200);
    let body = format!("{{\"type\":\"a.b\",\"{}\":{deep}}}", "k".repeat(50_000));
    let mut sent = raw("e1", "a.b", body);
    for name in ["x-foreign", "carteiro-foreign", wire::TRACESTATE] {
        sent.message.headers.set(name, HeaderValue::Text("S3CRET".repeat(10_000).into()));
    }
    fixture.route(&sent).await;
    let (record, carrier) = fixture.parked().remove(0);
    assert_eq!(record.reason, ParkReason::Schema);
    assert!(record.detail.unwrap().len() <= 1024);
    let names: Vec<_> = carrier.message.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [wire::SCHEMA, wire::ACCEPTED_AT, wire::TENANT, wire::RECORD]);
}

#[tokio::test(start_paused = true)]
async fn what_no_intake_accepts_is_kept_as_far_as_its_tenants_share_allows() {
    let fixture = Fixture::of(&one());
    let levels = BTreeMap::from([("".to_owned(), DeadLetterRetention::Counts)]);
    let announced = RetentionLevels { by_tenant: levels, allowance: Some(1), ..RetentionLevels::default() };
    fixture.parked_retention.hear(announced, START);
    let bad = |id: &str| raw(id, "a.b", "x".repeat(10_000));
    for id in ["e1", "e2", "e3"] {
        fixture.route(&bad(id)).await;
    }
    let mut strange = bad("e4");
    strange.key = strange.key.replacen("acme", "nobody", 1);
    fixture.route(&strange).await;
    let kept: Vec<_> = fixture.parked().into_iter().map(|(_, carrier)| carrier.message.body.len()).collect();
    assert_eq!(kept, [10_000, 4_096, 4_096]);
    assert!(fixture.parked()[1].0.detail.as_deref().unwrap().ends_with("are kept"));
    let reduced = |kept| fixture.metrics.parked_reduced.with_label_values(&[kept]).get();
    assert_eq!((reduced("excerpt"), reduced("nothing")), (2, 1));
}
