//! What is parked, with a record of ours and without.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{Broker as _, Lane, Log, LogBytes, Notices, Queue, ReadError, Settlement, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use schemas::{DeadLetterRetention, Delivery, HeaderValue, Message, Notice, ParkReason, Parked, wire};
use serde_json::Value;
use store::MemoryStore;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    fixture::{DeadDelivery, Fixture, NOW, OPERATOR},
    reading_broker::ReadingBroker,
};
use crate::parked;

/// What is listed, oldest first.
async fn listed(fixture: &Fixture) -> Vec<Parked> {
    let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", "/v1/parked?order=oldest", "").await;
    assert_eq!(status, 200, "{page}");
    serde_json::from_value(page["items"].clone()).unwrap()
}

async fn park(fixture: &Fixture, key: &str, headers: &[(&'static str, &str)], body: &'static str) {
    let mut message = Message { id: "e1".into(), body: Bytes::from(body), ..Message::default() };
    for (name, text) in headers {
        message.headers.set(*name, HeaderValue::Text((*text).into()));
    }
    fixture.broker.publish(&Target::Log(Log::Parked, key.into()), &message).await.unwrap();
}

#[tokio::test]
async fn a_record_of_ours_is_shown_as_it_was_written() {
    let fixture = Fixture::new();
    let record =
        r#"{"reason":"schema","detail":"/type","tenant":"acme","event_id":"e1","routing_key":"k","parked_at":"t"}"#;
    park(&fixture, "schema.acme", &[(wire::RECORD, record)], "not json").await;
    let Parked { id, reason, detail, body, .. } = parked::show(&fixture.broker, "0").await.unwrap().unwrap();
    assert_eq!((id.as_str(), reason, detail.as_deref()), ("0", ParkReason::Schema, Some("/type")));
    assert_eq!(body.unwrap().get(), "\"not json\"");
    for absent in ["1", "x"] {
        assert!(parked::show(&fixture.broker, absent).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_into_the_log_is_counted_by_reason_and_what_was_there_is_not() {
    let fixture = Fixture::new();
    let counted = |reason: ParkReason| fixture.control.metrics.park_log.with_label_values(&[reason.as_str()]).get();
    park(&fixture, "acme.7.-.ticket.created", &[], "before").await;
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(1)).await;
    let record = r#"{"reason":"decode","tenant":null,"event_id":null,"parked_at":null}"#;
    park(&fixture, "decode.-", &[(wire::RECORD, record)], "not json").await;
    park(&fixture, "delivery_limit.acme", &[], "{}").await;
    sleep(Duration::from_secs(15)).await;
    for nth in 0..2 {
        park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
        sleep(Duration::from_secs(15)).await;
        assert_eq!(counted(ParkReason::Unroutable), nth + 1);
    }
    assert_eq!((counted(ParkReason::Decode), counted(ParkReason::DeliveryLimit)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_read_later_from_where_it_was() {
    let memory = Memory::calm(Arc::new(|| NOW));
    let breaks = Arc::new(AtomicBool::new(false));
    let broken = breaks.clone();
    // The line breaks after each record.
    let reading_broker = ReadingBroker::new(&memory, move |records| match broken.load(Ordering::Relaxed) {
        true => records.take(1).chain(stream::iter([Err(ReadError("cut".to_owned()))])).boxed(),
        false => records,
    });
    let fixture = Fixture::over(Arc::new(reading_broker), memory, Arc::new(MemoryStore::default()));
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(1)).await;
    breaks.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        park(&fixture, "delivery_limit.acme", &[], "{}").await;
    }
    let counted = || fixture.control.metrics.park_log.with_label_values(&["delivery_limit"]).get();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(counted(), 2);
    breaks.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(counted(), 4);
}

/// Parks a delivery as the broker does, and returns its message.
async fn park_delivery(fixture: &Fixture, key: &str, delivery: &Delivery) -> Message {
    let message = delivery.to_message(Bytes::from_static(b"{}"));
    fixture.broker.publish(&Target::Log(Log::Parked, key.into()), &message).await.unwrap();
    message
}

/// The slow lane's next message within a second.
async fn returned(fixture: &Fixture) -> Option<Message> {
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 1.into());
    let incoming = timeout(Duration::from_secs(1), consumer.next()).await.ok()??;
    let message = incoming.message.clone();
    incoming.settle(Settlement::Done);
    Some(message)
}

/// Watches the parked log until the handle is dropped.
fn watch(fixture: &Fixture) -> AbortOnDropHandle<()> {
    let control = fixture.control.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { control.watch_parked().await }))
}

fn third_attempt() -> Delivery {
    Delivery { attempt: 3, accepted_at: NOW - 1_000, due: None, last: None, ..DeadDelivery::default().delivery }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_the_broker_parked_comes_back_by_itself_with_its_attempt() {
    let fixture = Fixture::new();
    // Before this process started, and later.
    park_delivery(&fixture, "delivery_limit.acme", &third_attempt()).await;
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(29)).await;
    assert_eq!(returned(&fixture).await, None, "what killed its deliverer waits half a minute");
    sleep(Duration::from_secs(20)).await;
    let message = returned(&fixture).await.expect("it is back");
    assert_eq!(Delivery::from_message(&message).unwrap(), Delivery { requeued: 1, ..third_attempt() });
    assert_eq!(message.body, "{}");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(returned(&fixture).await, None, "once is enough");

    fixture.broker.publish(&Target::Log(Log::Parked, "5m.slow".into()), &message).await.unwrap();
    sleep(Duration::from_secs(55)).await;
    assert_eq!(returned(&fixture).await, None, "the second time it waits twice as long");
    sleep(Duration::from_secs(30)).await;
    assert!(returned(&fixture).await.is_some());
    let requeued = |reason: &str| fixture.control.metrics.parked_requeued.with_label_values(&[reason]).get();
    assert_eq!((requeued("delivery_limit"), requeued("unroutable")), (1, 1));
    assert!(listed(&fixture).await.is_empty(), "they came back");
    let times = async |id: &str| parked::show(&fixture.broker, id).await.unwrap().map(|parked| parked.requeued);
    assert_eq!([times("0").await, times("1").await, times("2").await], [Some(0), None, Some(1)], "1 is a marker");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_another_process_brought_back_does_not_come_again_after_a_restart() {
    let fixture = Fixture::new();
    park_delivery(&fixture, "delivery_limit.acme", &third_attempt()).await;
    for expected in [1, 0] {
        let watching = watch(&fixture);
        sleep(Duration::from_secs(120)).await;
        drop(watching);
        assert_eq!(usize::from(returned(&fixture).await.is_some()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_with_the_headers_of_a_delivery_is_never_taken_for_one() {
    let fixture = Fixture::new();
    park_delivery(&fixture, "zeta.-.-.ticket.created", &third_attempt()).await;
    park_delivery(&fixture, "delivery_limit.acme", &third_attempt()).await;
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(120)).await;
    assert!(returned(&fixture).await.is_some() && returned(&fixture).await.is_none(), "the second alone is one");
    let (status, _) = fixture.ask_as(Some(OPERATOR), "POST", "/v1/parked/0/requeue", "").await;
    assert_eq!((status, returned(&fixture).await), (202, None), "it goes to the routers");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_beyond_its_age_or_parked_for_another_reason_stays_until_it_is_requeued_by_hand() {
    let fixture = Fixture::new();
    let old = Delivery { accepted_at: NOW - 73 * 3_600_000, ..third_attempt() };
    park_delivery(&fixture, "delivery_limit.acme", &old).await;
    let again = Delivery { attempt: 3, due: None, last: None, ..DeadDelivery::default().event("e1").delivery };
    let mut panicked = again.to_message(Bytes::from_static(b"{}"));
    let record = r#"{"reason":"panic","tenant":"acme","event_id":"e1","routing_key":"fast","parked_at":"t"}"#;
    panicked.headers.set(wire::RECORD, HeaderValue::Text(record.into()));
    fixture.broker.publish(&Target::Log(Log::Parked, "panic.acme".into()), &panicked).await.unwrap();
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(returned(&fixture).await, None);
    for (id, event, attempt) in [("0", "e0", old), ("1", "e1", again)] {
        let (status, answer) = fixture.ask_as(Some(OPERATOR), "POST", &format!("/v1/parked/{id}/requeue"), "").await;
        assert_eq!((status, &answer["event_id"]), (202, &event.into()), "{answer}");
        let message = returned(&fixture).await.expect("it is in the lane");
        assert_eq!(Delivery::from_message(&message).unwrap(), Delivery { requeued: 1, ..attempt });
        assert_eq!(message.headers.text(wire::RECORD), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_beyond_its_age_comes_back_for_the_attempt_that_a_pause_has_kept_from_it() {
    let fixture = Fixture::new();
    let old = Delivery { accepted_at: NOW - 73 * 3_600_000, ..third_attempt() };
    let found_paused = Delivery { found_paused: 1, ..old.clone() };
    let paused_now = Delivery { endpoint_id: "later".into(), id: uuid::Uuid::from_u128(2), ..old };
    for delivery in [&found_paused, &paused_now] {
        park_delivery(&fixture, "delivery_limit.acme", delivery).await;
    }
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(120)).await;
    for delivery in [found_paused, paused_now] {
        let message = returned(&fixture).await.expect("it is back");
        assert_eq!(Delivery::from_message(&message).unwrap(), Delivery { requeued: 1, ..delivery });
    }
}

#[tokio::test(start_paused = true)]
async fn many_parked_deliveries_come_back_a_few_at_a_time() {
    let fixture = Fixture::new();
    for nth in 0..600 {
        let event_id: schemas::EventId = format!("e{nth}").try_into().unwrap();
        let part = schemas::Part::First;
        let delivery = Delivery::owed("acme", &event_id, schemas::EventType::TICKET_CREATED, "crm", part, NOW);
        park_delivery(&fixture, "delivery_limit.acme", &delivery).await;
    }
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(31)).await;
    let mut back = vec![fixture.broker.depth(Queue::Lane(Lane::Slow))];
    for _ in 0..3 {
        sleep(Duration::from_secs(15)).await;
        back.push(fixture.broker.depth(Queue::Lane(Lane::Slow)));
    }
    assert_eq!(back, [250, 500, 600, 600]);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_is_counted_while_the_broker_takes_no_publishes() {
    let fixture = Fixture::new();
    park_delivery(&fixture, "delivery_limit.acme", &third_attempt()).await;
    let _watching = watch(&fixture);
    sleep(Duration::from_secs(1)).await;
    park(&fixture, "decode.-", &[], "not json").await;
    fixture.broker.block("alarm");
    sleep(Duration::from_secs(120)).await;
    let counted = || fixture.control.metrics.park_log.with_label_values(&["unroutable"]).get();
    assert_eq!((counted(), fixture.broker.depth(Queue::Lane(Lane::Slow))), (1, 0));
    fixture.broker.unblock();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.broker.depth(Queue::Lane(Lane::Slow)), 1, "it comes back later");
}

#[tokio::test]
async fn what_the_broker_parked_itself_gets_its_reason_from_its_key_or_its_death() {
    let fixture = Fixture::new();
    park(&fixture, "delivery_limit.acme", &[(wire::TENANT, "acme")], "{}").await;
    park(&fixture, "slow", &[("x-last-death-reason", "delivery_limit")], "{}").await;
    park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
    let all = listed(&fixture).await;
    let seen: Vec<_> =
        all.iter().map(|parked| (parked.reason, parked.tenant.as_deref(), parked.routing_key.as_deref())).collect();
    let expected = [
        (ParkReason::DeliveryLimit, Some("acme"), None),
        (ParkReason::DeliveryLimit, None, Some("slow")),
        (ParkReason::Unroutable, Some("acme"), Some("acme.7.-.ticket.created")),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn canaries_that_the_broker_parked_are_not_listed() {
    let fixture = Fixture::new();
    park(&fixture, "30s.slow", &[(wire::CANARY, "30s")], "").await;
    park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
    let all = listed(&fixture).await;
    assert_eq!(all.iter().map(|parked| parked.id.as_str()).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn parked_messages_are_listed_newest_first_in_pages_and_by_tenant_and_reason() {
    let fixture = Fixture::new();
    for key in ["acme.7.-.ticket.created", "zeta.7.-.ticket.created", "delivery_limit.acme", "acme.8.-.ticket.created"]
    {
        park(&fixture, key, &[], "{}").await;
    }
    let ask = async |query: &str| fixture.ask_as(Some(OPERATOR), "GET", &format!("/v1/parked{query}"), "").await.1;
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = ask("?limit=3").await;
    assert_eq!(ids(&first), ["3", "2", "1"]);
    // What comes meanwhile moves nothing.
    park(&fixture, "acme.9.-.ticket.created", &[], "{}").await;
    let next = ask(&format!("?limit=3&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((ids(&next), &next["next"]), (vec!["0".to_owned()], &Value::Null));
    for (query, expected) in [
        ("?tenant=zeta", &["1"][..]),
        ("?reason=delivery_limit", &["2"]),
        ("?tenant=acme&reason=unroutable", &["4", "3", "0"]),
        ("?tenant=nobody", &[]),
    ] {
        assert_eq!(ids(&ask(query).await), expected, "{query}");
    }
    let by_reason = serde_json::json!({"items": [{"reason": "unroutable", "count": 4}, {"reason": "delivery_limit", "count": 1}],
        "total": 5, "counted": "exactly"});
    assert_eq!(ask("/counts").await, by_reason);
    assert_eq!(
        ask("/counts?by=tenant&reason=unroutable").await["items"][0],
        serde_json::json!({"tenant": "acme", "count": 3})
    );
    for wrong in ["?reason=bored", "?order=up", "/counts?by=endpoint_id", "/0/requeue?again=maybe"] {
        let method = if wrong.contains("requeue") { "POST" } else { "GET" };
        let (status, problem) = fixture.ask_as(Some(OPERATOR), method, &format!("/v1/parked{wrong}"), "").await;
        assert_eq!((status, &problem["code"]), (400, &"invalid_parameter".into()), "{wrong}");
    }
}

#[tokio::test]
async fn an_event_that_was_requeued_is_listed_no_more_and_requeued_again_only_when_asked_for() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
    }
    let requeue = async |again: &str| {
        let path = format!("/v1/parked/0/requeue{again}");
        fixture.ask_as(Some(OPERATOR), "POST", &path, "").await.0
    };
    assert_eq!((requeue("").await, fixture.broker.depth(Queue::Ingest)), (202, 1));
    let ids: Vec<_> = listed(&fixture).await.into_iter().map(|parked| parked.id).collect();
    assert_eq!(ids, ["1"]);
    assert_eq!([requeue("").await, requeue("?again=false").await, requeue("?again=true").await], [409, 409, 202]);
    assert_eq!(fixture.broker.depth(Queue::Ingest), 2);
    assert!(parked::show(&fixture.broker, "0").await.unwrap().is_some(), "it can still be shown");
}

#[tokio::test]
async fn what_the_broker_has_parked_says_when_it_was_accepted() {
    let fixture = Fixture::new();
    let acceptance = wire::Acceptance::new("e1".to_owned().try_into().unwrap(), NOW, "acme");
    let message = acceptance.into_message("ticket.created".into(), Bytes::from_static(b"{}"));
    fixture.broker.publish(&Target::Log(Log::Parked, "acme.7.-.ticket.created".into()), &message).await.unwrap();
    let parked = listed(&fixture).await.remove(0);
    assert_eq!((parked.parked_at, parked.accepted_at.as_deref()), (None, Some("2026-01-01T00:00:00.000Z")));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_tenants_parked_messages_is_kept_as_excerpts_beside_those_of_others() {
    let fixture = Fixture::new();
    fixture.broker.set_max_log_bytes(LogBytes { parked: 100_000, ..LogBytes::default() });
    let mut notices = fixture.broker.notices();
    let park_body = async |tenant: &str| {
        let record = format!(r#"{{"reason":"decode","tenant":"{tenant}","event_id":null,"parked_at":null}}"#);
        let key = format!("decode.{tenant}");
        park(&fixture, &key, &[(wire::RECORD, &record)], str::from_utf8(&[b'x'; 1_000]).unwrap()).await;
    };
    let levels = async |notices: &mut Notices| loop {
        if let Some(Notice::ParkedRetention(levels)) = Notice::read(&notices.next().await.unwrap()) {
            return levels;
        }
    };
    park_body("zeta").await;
    let _watching = watch(&fixture);
    let first = levels(&mut notices).await;
    assert_eq!((first.by_tenant.len(), first.allowance, first.allowances["zeta"]), (0, Some(3_125), 25_000));
    for _ in 0..30 {
        park_body("acme").await;
    }
    for nobody in 0..10 {
        park_body(&format!("nobody-{nobody}")).await;
    }
    let expected = BTreeMap::from([("acme".to_owned(), DeadLetterRetention::Records)]);
    let next = levels(&mut notices).await;
    assert_eq!(next.by_tenant, expected, "{next:?}");
}
