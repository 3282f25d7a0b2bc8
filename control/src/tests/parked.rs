//! What is parked, with a record of ours and without.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{Broker as _, Log, ReadError, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schemas::{HeaderValue, Message, ParkReason, Parked, wire};
use store::MemoryStore;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{
    fixture::{Fixture, NOW},
    reading_broker::ReadingBroker,
};
use crate::parked;

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
    let control = fixture.control.clone();
    let _watching = AbortOnDropHandle::new(tokio::spawn(async move { control.watch_parked().await }));
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
    let control = fixture.control.clone();
    let _watching = AbortOnDropHandle::new(tokio::spawn(async move { control.watch_parked().await }));
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

#[tokio::test]
async fn what_the_broker_parked_itself_gets_its_reason_from_its_key_or_its_death() {
    let fixture = Fixture::new();
    park(&fixture, "delivery_limit.acme", &[(wire::TENANT, "acme")], "{}").await;
    park(&fixture, "slow", &[("x-last-death-reason", "delivery_limit")], "{}").await;
    park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
    let all: Vec<_> = parked::list(&fixture.broker).try_collect().await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|parked| (parked.reason, parked.tenant.as_deref(), parked.routing_key.as_deref(), parked.body.is_some()))
        .collect();
    let expected = [
        (ParkReason::DeliveryLimit, Some("acme"), None, true),
        (ParkReason::DeliveryLimit, None, Some("slow"), true),
        (ParkReason::Unroutable, Some("acme"), Some("acme.7.-.ticket.created"), true),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn canaries_that_the_broker_parked_are_not_listed() {
    let fixture = Fixture::new();
    park(&fixture, "30s.slow", &[(wire::CANARY, "30s")], "").await;
    park(&fixture, "acme.7.-.ticket.created", &[], "{}").await;
    let all: Vec<_> = parked::list(&fixture.broker).try_collect().await.unwrap();
    assert_eq!(all.iter().map(|parked| parked.id.as_str()).collect::<Vec<_>>(), ["1"]);
}
