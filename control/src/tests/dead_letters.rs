//! Which dead letters are alive, and which a filter selects.

use broker::{Broker as _, Log, Target, records::ReplayMarker};
use futures_util::TryStreamExt as _;
use schemas::{DeadReason, Message};

use super::fixture::{DeadDelivery, Fixture, NOW, append};
use crate::{DeadLetterFilter, dead_letters};

/// Names and texts.
type Fields<'a> = &'a [(&'a str, &'a str)];

async fn ids(fixture: &Fixture, tenant: Option<&str>, filter: Fields<'_>) -> Vec<String> {
    let mut wanted = DeadLetterFilter::default();
    for (name, text) in filter {
        wanted.set(name, text).unwrap();
    }
    let letters = dead_letters::list(&fixture.broker, tenant, &wanted).await.unwrap();
    letters.map_ok(|letter| letter.id).try_collect().await.unwrap()
}

async fn mark(fixture: &Fixture, dead: &DeadDelivery, offset: u64) {
    let (to, marker) = ReplayMarker::of(&dead.delivery, offset, "job", NOW);
    fixture.broker.publish(&to, &marker).await.unwrap();
}

#[tokio::test]
async fn every_field_of_a_filter_narrows_the_list() {
    let fixture = Fixture::new();
    for dead in [
        DeadDelivery::default().event("e0"),
        DeadDelivery::default().event("e1").to("acme", "bi"),
        DeadDelivery::default().event("e2").reason(DeadReason::Permanent),
        DeadDelivery::default().event("e3").dead_at(NOW - 60_000),
        DeadDelivery::default().event("e4").to("zeta", "crm"),
    ] {
        append(&fixture.broker, &dead).await;
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
        assert_eq!(ids(&fixture, Some("acme"), filter).await, expected, "{filter:?}");
    }
    assert_eq!(ids(&fixture, None, &[]).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn of_several_records_of_a_delivery_the_latest_counts() {
    let fixture = Fixture::new();
    let fork = DeadDelivery::default();
    append(&fixture.broker, &fork).await;
    append(&fixture.broker, &fork.clone().reason(DeadReason::Permanent)).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["1"]);
    assert_eq!(ids(&fixture, None, &[("reason", "exhausted")]).await, [""; 0], "the earlier one is gone");
}

#[tokio::test]
async fn a_marker_ends_what_was_before_it_and_not_what_died_again() {
    let fixture = Fixture::new();
    let dead = DeadDelivery::default();
    append(&fixture.broker, &dead).await;
    append(&fixture.broker, &DeadDelivery::default().event("other")).await;
    mark(&fixture, &dead, 0).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["1"]);

    append(&fixture.broker, &dead).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["1", "3"]);
    mark(&fixture, &dead, 0).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["1", "3"], "a late marker of an earlier death");
    mark(&fixture, &dead, 3).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["1"]);
}

#[tokio::test]
async fn what_is_no_record_of_ours_is_passed_over() {
    let fixture = Fixture::new();
    fixture.broker.publish(&Target::Log(Log::Dead, "exhausted.acme".into()), &Message::default()).await.unwrap();
    fixture.broker.publish(&Target::Log(Log::Dead, "replayed.acme".into()), &Message::default()).await.unwrap();
    fixture.append(1).await;
    assert_eq!(ids(&fixture, None, &[]).await, ["2"]);
}

#[tokio::test]
async fn one_is_shown_with_its_body_to_its_tenant_only() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    mark(&fixture, &DeadDelivery::default(), 0).await;
    let show = async |tenant, id| dead_letters::show(&fixture.broker, tenant, 0, id).await.unwrap();
    let letter = show(Some("acme"), "1").await.unwrap();
    assert_eq!((letter.id.as_str(), letter.event_id.as_str(), letter.attempts), ("1", "e1", 10));
    assert_eq!(letter.body.unwrap().get(), r#"{"of" : "e1"}"#);
    assert!(show(None, "0").await.is_some(), "also after its replay");
    for (tenant, id) in [(Some("zeta"), "1"), (None, "2"), (None, "3"), (None, "x")] {
        assert!(show(tenant, id).await.is_none(), "{tenant:?} {id}");
    }
}
