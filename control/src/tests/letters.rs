//! Which dead letters are alive, and which are meant.

use broker::{Broker as _, Log, Target, records::ReplayMarker};
use futures_util::TryStreamExt as _;
use schemas::{DeadReason, Message};

use super::house::{Grave, House, NOW, bury};
use crate::{Filter, dead_letters};

/// Names and texts.
type Fields<'a> = &'a [(&'a str, &'a str)];

async fn ids(house: &House, tenant: Option<&str>, filter: Fields<'_>) -> Vec<String> {
    let mut wanted = Filter::default();
    for (name, text) in filter {
        wanted.set(name, text).unwrap();
    }
    let letters = dead_letters::list(&house.broker, tenant, &wanted).await.unwrap();
    letters.map_ok(|letter| letter.id).try_collect().await.unwrap()
}

async fn mark(house: &House, grave: &Grave, offset: u64) {
    let (to, marker) = ReplayMarker::of(&grave.delivery, offset, "job", NOW);
    house.broker.publish(&to, &marker).await.unwrap();
}

#[tokio::test]
async fn every_field_of_a_filter_narrows_the_list() {
    let house = House::new();
    for grave in [
        Grave::default().event("e0"),
        Grave::default().event("e1").to("acme", "bi"),
        Grave::default().event("e2").reason(DeadReason::Permanent),
        Grave::default().event("e3").dead_at(NOW - 60_000),
        Grave::default().event("e4").to("zeta", "crm"),
    ] {
        bury(&house.broker, &grave).await;
    }
    let table: [(Fields<'_>, &[&str]); 9] = [
        (&[], &["0", "1", "2", "3"]),
        (&[("ids", "2"), ("ids", "0"), ("ids", "4")], &["0", "2"]),
        (&[("endpoint_id", "bi")], &["1"]),
        (&[("reason", "permanent")], &["2"]),
        (&[("event_type", "ticket.created")], &["0", "1", "2", "3"]),
        (&[("event_type", "ticket.closed")], &[]),
        (&[("since", "2026-01-01T00:00:00Z")], &["0", "1", "2"]),
        (&[("until", "2026-01-01T00:00:00Z")], &["3"]),
        (&[("reason", "permanent"), ("endpoint_id", "bi")], &[]),
    ];
    for (filter, expected) in table {
        assert_eq!(ids(&house, Some("acme"), filter).await, expected, "{filter:?}");
    }
    assert_eq!(ids(&house, None, &[]).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn of_several_records_of_a_delivery_the_latest_counts() {
    let house = House::new();
    let fork = Grave::default();
    bury(&house.broker, &fork).await;
    bury(&house.broker, &fork.clone().reason(DeadReason::Permanent)).await;
    assert_eq!(ids(&house, None, &[]).await, ["1"]);
    assert_eq!(ids(&house, None, &[("reason", "exhausted")]).await, [""; 0], "the earlier one is gone");
}

#[tokio::test]
async fn a_marker_ends_what_was_before_it_and_not_what_died_again() {
    let house = House::new();
    let grave = Grave::default();
    bury(&house.broker, &grave).await;
    bury(&house.broker, &Grave::default().event("other")).await;
    mark(&house, &grave, 0).await;
    assert_eq!(ids(&house, None, &[]).await, ["1"]);

    bury(&house.broker, &grave).await;
    assert_eq!(ids(&house, None, &[]).await, ["1", "3"]);
    mark(&house, &grave, 0).await;
    assert_eq!(ids(&house, None, &[]).await, ["1", "3"], "a late marker of an earlier death");
    mark(&house, &grave, 3).await;
    assert_eq!(ids(&house, None, &[]).await, ["1"]);
}

#[tokio::test]
async fn what_is_no_record_of_ours_is_passed_over() {
    let house = House::new();
    house.broker.publish(&Target::Log(Log::Dead, "exhausted.acme".into()), &Message::default()).await.unwrap();
    house.broker.publish(&Target::Log(Log::Dead, "replayed.acme".into()), &Message::default()).await.unwrap();
    house.bury(1).await;
    assert_eq!(ids(&house, None, &[]).await, ["2"]);
}

#[tokio::test]
async fn one_is_shown_with_its_body_to_its_tenant_only() {
    let house = House::new();
    house.bury(2).await;
    mark(&house, &Grave::default(), 0).await;
    let show = async |tenant, id| dead_letters::show(&house.broker, tenant, id).await.unwrap();
    let letter = show(Some("acme"), "1").await.unwrap();
    assert_eq!((letter.id.as_str(), letter.event_id.as_str(), letter.attempts), ("1", "e1", 10));
    assert_eq!(letter.body.unwrap().get(), r#"{"of" : "e1"}"#);
    assert!(show(None, "0").await.is_some(), "also after its replay");
    for (tenant, id) in [(Some("zeta"), "1"), (None, "2"), (None, "3"), (None, "x")] {
        assert!(show(tenant, id).await.is_none(), "{tenant:?} {id}");
    }
}
