//! What is parked, with a record of ours and without.

use broker::{Broker as _, Header, Log, Message, Target};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use schemas::{ParkReason, Parked, wire};

use super::house::House;
use crate::parked;

async fn park(house: &House, key: &str, headers: &[(&'static str, &str)], body: &'static str) {
    let mut message = Message { id: "e1".into(), body: Bytes::from(body), ..Message::default() };
    for (name, text) in headers {
        message.headers.set(*name, Header::Text((*text).into()));
    }
    house.broker.publish(&Target::Log(Log::Parked, key.into()), &message).await.unwrap();
}

#[tokio::test]
async fn a_record_of_ours_is_shown_as_it_was_written() {
    let house = House::new();
    let record =
        r#"{"reason":"schema","detail":"/type","tenant":"acme","event_id":"e1","routing_key":"k","parked_at":"t"}"#;
    park(&house, "schema.acme", &[(wire::RECORD, record)], "not json").await;
    let Parked { id, reason, detail, body, .. } = parked::show(&house.broker, "0").await.unwrap().unwrap();
    assert_eq!((id.as_str(), reason, detail.as_deref()), ("0", ParkReason::Schema, Some("/type")));
    assert_eq!(body.unwrap().get(), "\"not json\"");
    for absent in ["1", "x"] {
        assert!(parked::show(&house.broker, absent).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_the_broker_parked_itself_gets_its_reason_from_its_key_or_its_death() {
    let house = House::new();
    park(&house, "delivery_limit.acme", &[(wire::TENANT, "acme")], "{}").await;
    park(&house, "slow", &[("x-last-death-reason", "delivery_limit")], "{}").await;
    park(&house, "acme.7.-.ticket.created", &[], "{}").await;
    let all: Vec<_> = parked::list(&house.broker).try_collect().await.unwrap();
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
async fn canaries_that_the_broker_parked_where_a_way_is_broken_are_not_among_what_is_somebodys() {
    let house = House::new();
    park(&house, "30s.slow", &[(wire::CANARY, "30s")], "").await;
    park(&house, "acme.7.-.ticket.created", &[], "{}").await;
    let all: Vec<_> = parked::list(&house.broker).try_collect().await.unwrap();
    assert_eq!(all.iter().map(|parked| parked.id.as_str()).collect::<Vec<_>>(), ["1"]);
}
