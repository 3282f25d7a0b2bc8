//! Which dead letters are alive, and which a filter selects.

use broker::{Broker as _, Log, Target, records::ReplayMarker};
use futures_util::TryStreamExt as _;
use schemas::{DeadReason, Message};
use serde_json::{Value, json};

use super::fixture::{DeadDelivery, Fixture, NOW, OPERATOR, append};
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

#[tokio::test]
async fn the_operator_lists_counts_and_shows_those_of_all_tenants() {
    let fixture = Fixture::new();
    for dead in [
        DeadDelivery::default(),
        DeadDelivery::default().event("e1").to("zeta", "bi").reason(DeadReason::Permanent),
        DeadDelivery::default().event("e2").to("gone", "crm"),
        DeadDelivery::default().event("e3"),
    ] {
        append(&fixture.broker, &dead).await;
    }
    let ask = async |path: &str| fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
    let ids = |page: &Value| -> Vec<(String, String)> {
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        page["items"].as_array().unwrap().iter().map(|item| (text(item, "id"), text(item, "tenant"))).collect()
    };
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(id, tenant)| ((*id).to_owned(), (*tenant).to_owned())).collect()
    };
    let (_, all) = ask("/v1/dead-letters").await;
    assert_eq!(ids(&all), own(&[("3", "acme"), ("2", "gone"), ("1", "zeta"), ("0", "acme")]));
    assert_eq!(ids(&ask("/v1/dead-letters?order=oldest&limit=2").await.1), own(&[("0", "acme"), ("1", "zeta")]));
    assert_eq!(ids(&ask("/v1/dead-letters?tenant=acme").await.1), own(&[("3", "acme"), ("0", "acme")]));
    assert_eq!(ids(&ask("/v1/dead-letters?tenant=gone").await.1), own(&[("2", "gone")]), "it was deleted");
    assert_eq!(ids(&ask("/v1/dead-letters?reason=permanent").await.1), own(&[("1", "zeta")]));
    for path in ["/v1/dead-letters?tenant=nope", "/v1/dead-letters/counts?tenant=nope", "/v1/dead-letters/9"] {
        let (status, problem) = ask(path).await;
        assert_eq!(status, 404, "{path}");
        assert!(problem["detail"].as_str().unwrap().starts_with("there is no"), "{problem}");
    }
    let counts = ask("/v1/dead-letters/counts").await.1;
    let expected = json!([{"reason": "exhausted", "count": 3}, {"reason": "permanent", "count": 1}]);
    assert_eq!((&counts["items"], &counts["total"], &counts["counted"]), (&expected, &json!(4), &json!("exactly")));
    let by_tenant = ask("/v1/dead-letters/counts?by=tenant").await.1;
    assert_eq!(by_tenant["items"][0], json!({"tenant": "acme", "count": 2}));
    let by_endpoint = ask("/v1/dead-letters/counts?by=endpoint_id&tenant=zeta").await.1;
    assert_eq!(by_endpoint["items"], json!([{"tenant": "zeta", "endpoint_id": "bi", "count": 1}]));
    assert_eq!(ask("/v1/dead-letters/1").await.1["body"], json!({"of": "e1"}));
    for path in ["/v1/dead-letters", "/v1/dead-letters/counts", "/v1/dead-letters/1"] {
        assert_eq!(fixture.ask("GET", path, "").await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn a_discarded_letter_is_listed_and_replayed_no_more_until_its_delivery_dies_again() {
    let fixture = Fixture::new();
    fixture.append(3).await;
    let discard = async |body: &str| fixture.ask("POST", "/v1/tenants/acme/dead-letters/discard", body).await;
    let dry = discard(r#"{"filter":{"ids":["1"]},"dry_run":true}"#).await;
    assert_eq!(dry, (200, json!({"matched": 1, "discarded": 0})));
    assert_eq!(discard(r#"{"filter":{"ids":["1"]}}"#).await, (200, json!({"matched": 1, "discarded": 1})));
    assert_eq!(ids(&fixture, Some("acme"), &[]).await, ["0", "2"]);
    assert_eq!(discard(r#"{"filter":{"ids":["1"]}}"#).await.1["matched"], 0);
    assert_eq!(fixture.replay(r#"{"filter":{}}"#).await["matched"], 2);
    append(&fixture.broker, &DeadDelivery::default().event("e1")).await;
    assert_eq!(ids(&fixture, Some("acme"), &[]).await.len(), 1);
    for (body, pointer) in [("{}", "/filter"), (r#"{"filter":{},"rate_per_second":5}"#, "/rate_per_second")] {
        let (status, problem) = discard(body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &pointer.into()), "{body}");
    }
    let (status, _) = fixture.ask_as(Some("reader's"), "POST", "/v1/tenants/acme/dead-letters/discard", "{}").await;
    assert_eq!(status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_discard_while_the_broker_takes_nothing_says_so_and_ends_none() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    fixture.broker.block("alarm");
    let (status, problem) = fixture.ask("POST", "/v1/tenants/acme/dead-letters/discard", r#"{"filter":{}}"#).await;
    assert_eq!((status, &problem["code"]), (503, &"unavailable".into()), "{problem}");
    assert_eq!(ids(&fixture, None, &[]).await.len(), 2);
}

#[tokio::test]
async fn a_letter_that_died_again_after_a_replay_names_it() {
    let fixture = Fixture::new();
    let mut dead = DeadDelivery::default();
    append(&fixture.broker, &dead).await;
    dead.delivery.replay = Some("a-replay".to_owned());
    append(&fixture.broker, &dead).await;
    let shown = async |id: &str| fixture.ask("GET", &format!("/v1/tenants/acme/dead-letters/{id}"), "").await.1;
    let (first, again) = (shown("0").await, shown("1").await);
    assert_eq!((&first["replay_id"], &again["replay_id"]), (&Value::Null, &json!("a-replay")));
    assert_eq!(first["delivery_id"], again["delivery_id"]);
}
