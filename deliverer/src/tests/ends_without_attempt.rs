//! Deliveries that end or wait without a response, without a socket and under paused time.

use std::time::Duration;

use broker::{Log, Target, records::read_dead_letter};
use schemas::{
    DeadLetterRetention, DeadReason, Delivery, HeaderValue, Message, OutcomeClass, ParkReason, Parked, wire,
};
use serde_json::json;

use super::{
    config,
    fixture::{BODY, FAST, Fixture, SLOW, START, delivery, message, read},
};

/// An endpoint with a forbidden address: attempts end at once and without a socket.
fn forbidden() -> serde_json::Value {
    json!([{"id": "crm", "url": "http://127.0.0.1:1/"}])
}

#[tokio::test(start_paused = true)]
async fn a_disabled_endpoints_deliveries_end_at_once_and_can_be_replayed() {
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "state": "disabled"}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (record, carrier) = fixture.dead_letter().await;
    assert_eq!((record.reason, record.attempts, record.last), (DeadReason::EndpointDisabled, 0, None));
    assert_eq!(carrier.body, BODY);
    fixture.empty(FAST).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_an_unknown_endpoint_is_deferred_twelve_times_then_its_endpoint_is_gone() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.publish(&message(&delivery("e1"))).await;
    for deferrals in 1..=12 {
        let (target, later) = fixture.published().await;
        let Target::Lane(broker::Lane::Fast, Some(due)) = target else { panic!("{target:?}") };
        assert_eq!(due.at, (fixture.clock)() + 5_000);
        assert_eq!((read(&later).deferrals, read(&later).attempt), (deferrals, 1), "no attempt was made");
    }
    let (record, carrier) = fixture.dead_letter().await;
    assert_eq!((record.reason, record.attempts), (DeadReason::EndpointGone, 0));
    assert_eq!(carrier.body, BODY);
    assert_eq!((fixture.clock)() / 1_000, (START + 60_000) / 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_delivery_is_attempted_once_its_endpoint_is_known() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.publish(&message(&Delivery { requeued: 3, ..delivery("e1") })).await;
    let (_, deferred) = fixture.published().await;
    assert_eq!(read(&deferred).requeued, 3, "it was not attempted since it was parked");
    fixture.set_endpoints(&forbidden());
    let (_, retry) = fixture.retry().await;
    let next = read(&retry);
    assert_eq!((next.attempt, next.deferrals, next.last.unwrap().outcome), (2, 1, OutcomeClass::BlockedIp));
    assert_eq!(next.requeued, 0, "an attempt was made");
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_is_held_while_publishing_is_blocked_for_however_long_and_attempted_once() {
    let fixture = Fixture::guarded(&forbidden());
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(12 * 3_600)).await;
    assert_eq!((fixture.metrics.redeliveries.get(), fixture.memory.depth(FAST)), (0, 1), "held");
    fixture.memory.unblock();
    fixture.empty(FAST).await;
    assert_eq!((fixture.metrics.redeliveries.get(), fixture.memory.depth(SLOW)), (0, 1));
    assert_eq!(fixture.metrics.attempts.with_label_values(&["blocked_ip", "fast"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_broker_takes_no_more_for_its_size_ends_as_a_dead_letter_without_its_body() {
    let fixture = Fixture::guarded(&forbidden());
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.take_at_most(BODY.len() - 1);
    fixture.empty(FAST).await;
    let record = read_dead_letter(&fixture.memory.records(Log::Dead)[0]).expect("a dead letter");
    assert_eq!((record.reason, record.attempts, record.body_withheld), (DeadReason::TooLarge, 1, true));
    assert_eq!(record.last.expect("an attempt").next_due, None);
    assert_eq!(fixture.metrics.redeliveries.get(), 0);
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["too_large"]).get(), 1, "it is reported");
}

#[tokio::test(start_paused = true)]
async fn a_deferral_that_the_broker_takes_no_more_for_its_size_ends_and_is_counted_as_dead() {
    let fixture = Fixture::guarded(&json!([]));
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.take_at_most(BODY.len() - 1);
    fixture.empty(FAST).await;
    let record = read_dead_letter(&fixture.memory.records(Log::Dead)[0]).expect("a dead letter");
    assert_eq!((record.reason, record.attempts, record.body_withheld), (DeadReason::TooLarge, 0, true));
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["too_large"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_delivery_and_too_large_for_the_parked_log_is_parked_as_an_excerpt() {
    let fixture = Fixture::guarded(&forbidden());
    let mut bad = Message { body: "x".repeat(20_000).into(), ..message(&delivery("e1")) };
    bad.headers.set(wire::SCHEMA, HeaderValue::Int(9));
    fixture.publish(&bad).await;
    fixture.memory.take_at_most(10_000);
    fixture.empty(FAST).await;
    let parked = fixture.memory.records(Log::Parked).remove(0);
    assert_eq!(parked.message.body.len(), 4_096);
    let detail = broker::records::read_parked(&parked).detail.expect("a detail");
    assert!(detail.ends_with("; the first 4096 are kept"), "{detail}");
    assert_eq!(fixture.metrics.redeliveries.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_again_keeps_its_body_whatever_the_quota_says() {
    for level in [DeadLetterRetention::Records, DeadLetterRetention::Counts] {
        let mut fixture = Fixture::of(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "state": "disabled"}]));
        fixture.retention.hear(std::collections::BTreeMap::from([("acme".to_owned(), level)]), (fixture.clock)());
        fixture.publish(&message(&Delivery { replay: Some("r1".into()), ..delivery("e1") })).await;
        let (record, carrier) = fixture.dead_letter().await;
        assert_eq!((record.reason, record.body_withheld), (DeadReason::EndpointDisabled, false));
        assert_eq!(carrier.body, BODY, "its old dead letter is gone, so this is the only copy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_delivery_whose_session_is_lost_is_attempted_again_and_makes_one_retry() {
    let fixture = Fixture::guarded(&forbidden());
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(60)).await;
    fixture.memory.go_away("cut");
    fixture.memory.come_back();
    fixture.empty(FAST).await;
    assert_eq!((fixture.metrics.redeliveries.get(), fixture.memory.depth(SLOW)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_could_not_be_written_is_counted_once_it_was() {
    let mut disabled = forbidden();
    disabled[0]["state"] = json!("disabled");
    let fixture = Fixture::guarded(&disabled);
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(150)).await;
    let counted = fixture.metrics.dead_letters.with_label_values(&["endpoint_disabled"]);
    assert_eq!(counted.get(), 0);
    fixture.memory.unblock();
    fixture.empty(FAST).await;
    assert_eq!((counted.get(), fixture.memory.records(Log::Dead).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_that_cannot_be_published_at_shutdown_is_given_back_at_once() {
    let fixture = Fixture::guarded(&forbidden());
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.ask_to_stop();
    let memory = fixture.stopped().await;
    assert_eq!(memory.depth(FAST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_a_delivery_is_parked_readable_and_whole() {
    let mut fixture = Fixture::guarded(&forbidden());
    let table = [
        (wire::SCHEMA, HeaderValue::Int(9)),
        (wire::DELIVERY_ID, HeaderValue::Text("x".into())),
        (wire::ATTEMPT, HeaderValue::Int(0)),
    ];
    for (name, value) in table {
        let mut bad = message(&delivery("e1"));
        bad.headers.set(name, value);
        fixture.publish(&bad).await;
        let (target, carrier) = fixture.published().await;
        assert_eq!(target, Target::Log(Log::Parked, "schema.acme".into()));
        let record: Parked = serde_json::from_str(carrier.headers.text(wire::RECORD).unwrap()).unwrap();
        assert_eq!((record.reason, record.event_id.as_deref()), (ParkReason::Schema, Some("e1")));
        assert!(record.detail.unwrap().contains(name));
        assert_eq!(carrier.body, BODY);
        fixture.empty(FAST).await;
    }
    assert_eq!(fixture.metrics.parked.with_label_values(&["schema"]).get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deliverer_without_a_snapshot_does_not_consume() {
    let mut fixture = Fixture::without_snapshot(&config());
    fixture.publish(&message(&Delivery { deferrals: 12, ..delivery("e1") })).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(fixture.nothing_published());
    fixture.set_endpoints(&json!([]));
    assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::EndpointGone);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_endpoint_is_gone_at_once_where_revisions_are_shared() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.set_endpoints_at_revision(7, &json!([]));
    fixture.publish(&message(&Delivery { revision: 7, ..delivery("e1") })).await;
    assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::EndpointGone);
    fixture.publish(&message(&Delivery { tenant: "deleted".into(), revision: 3, ..delivery("e2") })).await;
    assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::EndpointGone);
    assert_eq!((fixture.clock)() / 1_000, START / 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_older_than_its_endpoint_ends_as_that_of_a_deleted_one() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.set_endpoints_created_at(7, 9, &forbidden());
    for attempt in [1, 3] {
        fixture.publish(&message(&Delivery { revision: 6, attempt, ..delivery("e1") })).await;
        let (record, carrier) = fixture.dead_letter().await;
        assert_eq!((record.reason, record.attempts), (DeadReason::EndpointGone, attempt - 1));
        assert_eq!(carrier.body, BODY);
    }
    fixture.publish(&message(&Delivery { revision: 6, is_test: true, ..delivery("e2") })).await;
    fixture.empty(FAST).await;
    // A revision that the database has lost when it was restored is no reason, nor is one that cannot be compared.
    for revision in [7, 9, 99, 0] {
        fixture.publish(&message(&Delivery { revision, ..delivery(&format!("of{revision}")) })).await;
        assert_eq!(read(&fixture.retry().await.1).last.unwrap().outcome, OutcomeClass::BlockedIp, "it was attempted");
    }
    let attempts = fixture.metrics.attempts.with_label_values(&["blocked_ip", "fast"]).get();
    assert_eq!(attempts, 4, "nor is a test of the former endpoint made");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_retry_is_made_to_a_changed_endpoint_and_not_to_one_made_anew() {
    let changed = json!([{"id": "crm", "url": "http://127.0.0.1:2/"}]);
    let mut fixture = Fixture::guarded(&json!([]));
    for (created, is_attempted) in [(2, true), (5, false)] {
        fixture.set_endpoints_created_at(2, 2, &forbidden());
        fixture.publish(&message(&Delivery { revision: 2, ..delivery(&format!("e{created}")) })).await;
        fixture.retry().await;
        fixture.set_endpoints_created_at(created, 5, &changed);
        if is_attempted {
            assert_eq!(read(&fixture.retry().await.1).attempt, 3);
        } else {
            let (record, _) = fixture.dead_letter().await;
            assert_eq!((record.reason, record.attempts), (DeadReason::EndpointGone, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_from_a_later_revision_waits_for_it_however_long_that_takes() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.set_endpoints_at_revision(7, &json!([]));
    fixture.publish(&message(&Delivery { revision: 8, ..delivery("e1") })).await;
    for deferrals in 1..=13 {
        let (target, later) = fixture.published().await;
        let Target::Lane(broker::Lane::Fast, Some(due)) = target else { panic!("{target:?}") };
        assert_eq!(due.at - (fixture.clock)(), if deferrals <= 12 { 5_000 } else { 60_000 });
        assert_eq!(read(&later).deferrals, deferrals);
    }
    fixture.set_endpoints_at_revision(8, &forbidden());
    tokio::time::sleep(Duration::from_secs(60)).await;
    fixture.retry().await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_never_comes_is_waited_for_as_long_as_deliveries_are_tried() {
    let mut fixture = Fixture::guarded(&json!([]));
    fixture.set_endpoints_at_revision(7, &json!([]));
    let old = Delivery { revision: 8, accepted_at: START - 73 * 3_600_000, ..delivery("e1") };
    fixture.publish(&message(&old)).await;
    assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::EndpointGone);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_accepted_before_a_cancel_ends_without_an_attempt_and_a_later_one_does_not() {
    let mut endpoint = forbidden();
    endpoint[0]["cancelled_before"] = json!(schemas::time::rfc3339(START + 10));
    let mut fixture = Fixture::guarded(&endpoint);
    for (event, accepted_at) in [("e1", START), ("e2", START + 10)] {
        fixture.publish(&message(&Delivery { accepted_at, attempt: 3, ..delivery(event) })).await;
        let (record, carrier) = fixture.dead_letter().await;
        assert_eq!((record.reason, record.attempts), (DeadReason::Cancelled, 2));
        assert_eq!(carrier.body, BODY, "it can be replayed");
    }
    fixture.publish(&message(&Delivery { accepted_at: START + 11, ..delivery("e3") })).await;
    fixture.retry().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_a_waiting_retry_once_it_is_due() {
    let mut fixture = Fixture::guarded(&forbidden());
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.retry().await;
    let mut cancelled = forbidden();
    cancelled[0]["cancelled_before"] = json!(schemas::time::rfc3339(START + 1_000));
    fixture.set_endpoints(&cancelled);
    assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::Cancelled);
    assert!((fixture.clock)() >= START + 5_000, "the retry was due by then");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_beyond_a_quota_loses_its_body_and_beyond_ten_times_that_it_is_only_counted() {
    let mut disabled = forbidden();
    disabled[0]["state"] = json!("disabled");
    let mut fixture = Fixture::guarded(&disabled);
    let hear = |fixture: &Fixture, level| {
        fixture.retention.hear(std::collections::BTreeMap::from([("acme".to_owned(), level)]), (fixture.clock)());
    };
    hear(&fixture, DeadLetterRetention::Records);
    fixture.publish(&message(&delivery("e1"))).await;
    let (record, carrier) = fixture.dead_letter().await;
    assert!(record.body_withheld && carrier.body.is_empty());
    fixture.empty(FAST).await;

    hear(&fixture, DeadLetterRetention::Counts);
    fixture.publish(&message(&delivery("e2"))).await;
    fixture.empty(FAST).await;
    assert!(fixture.nothing_published());
    let reduced = |kept| fixture.metrics.dead_letters_reduced.with_label_values(&[kept]).get();
    assert_eq!((reduced("record"), reduced("nothing")), (1, 1));
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["endpoint_disabled"]).get(), 2);
}
