//! What became of one event, and of one delivery.

use history::{DeliveryState, Filter, Record, RecordedVerdict, RunRecord};
use schemas::{DeadReason, OutcomeClass};

use crate::{fixture::Fixture, records::*};

pub(crate) const BYTES: u64 = crate::fixture::MAX_BYTES;

pub(crate) async fn an_event_is_told_with_its_deliveries_and_who_did_not_want_it(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut event = unmatched(to(bare("e1", TODAY), &["crm", "bi"]), "queue_ids");
    (event.ticket_id, event.protocol) = (Some("1003".into()), Some("2025".into()));
    write(&*history, vec![record(event), record(bare("e2", TODAY + 1))]).await;
    let story = history.event(ACME, "e1").await.expect("an answer").expect("an event");
    assert_eq!((story.event.source.as_str(), story.event.matched), ("whazing", true));
    assert_eq!((story.event.occurred_at, story.event.ticket_id.as_deref()), (TODAY - 5, Some("1003")));
    assert_eq!(story.body.as_deref(), Some(&b"{\"id\":\"e1\"}"[..]));
    assert_eq!(story.unmatched[0].reason, "queue_ids");
    let mut to: Vec<_> = story.deliveries.iter().map(|one| one.endpoint_id.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["bi", "crm"]);
    assert!(story.deliveries.iter().all(|one| one.state == DeliveryState::Waiting && one.attempt_count == 0));
    let nobody = history.event(ACME, "e2").await.expect("an answer").expect("an event");
    assert_eq!((nobody.event.matched, nobody.deliveries.len()), (false, 0), "nobody wanted it, and it is there");
    assert_eq!(history.event(ACME, "e3").await.expect("an answer"), None);
}

pub(crate) async fn a_delivery_is_told_with_its_attempts(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let records = vec![record(to(bare("e1", TODAY), &["crm"])), failed("e1", TODAY, 1, "crm", "busy")];
    write(&*history, records).await;
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    assert_eq!((story.delivery.state, story.delivery.next_due), (DeliveryState::Waiting, Some(TODAY + 60_000)));
    write(&*history, vec![delivered("e1", TODAY, 2, "crm")]).await;
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    let told: Vec<_> = story.attempts.iter().map(|one| (one.run, one.number, one.post.outcome, one.next_due)).collect();
    let due = Some(TODAY + 60_000);
    assert_eq!(told, [(1, 1, OutcomeClass::ServerError, due), (1, 2, OutcomeClass::Success, None)]);
    assert_eq!(story.attempts[0].post.response_excerpt, "busy");
    assert_eq!(story.attempts[0].post, post(OutcomeClass::ServerError, "busy"), "all of a POST comes back");
    assert_eq!((story.delivery.state, story.delivery.next_due), (DeliveryState::Delivered, None));
    assert_eq!((story.delivery.attempt_count, story.delivery.run), (2, 1));
    assert_eq!(story.delivery.last.map(|last| (last.number, last.post.status)), Some((2, Some(200))));
    assert_eq!(story.body.as_deref(), Some(&b"{\"rendered\":\"e1\"}"[..]));
    assert_eq!(story.matched_by, ["all", "of-crm"]);
    assert_eq!(story.request_headers, [("webhook-id".to_owned(), "e".to_owned())]);
    assert_eq!(history.delivery(ACME, uuid::Uuid::nil()).await.expect("an answer"), None);
}

pub(crate) async fn a_record_written_twice_counts_once(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let all = || {
        vec![
            record(to(bare("e1", TODAY), &["crm"])),
            failed("e1", TODAY, 1, "crm", ""),
            run(again("e1", TODAY, TODAY + 9_000)),
        ]
    };
    let first = write(&*history, all()).await;
    assert_eq!((first.records, first.repeated), (3, 0));
    let again = write(&*history, all()).await;
    assert_eq!((again.records, again.repeated), (0, 3));
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    assert_eq!((story.delivery.attempt_count, story.delivery.run, story.attempts.len()), (1, 2, 1));
    let points = history.stats(&super::stats::by_day(None)).await.expect("an answer");
    assert_eq!((points[0].events, points[0].failed_attempts), (1, 1));
}

pub(crate) async fn records_may_come_in_any_order(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    write(&*history, vec![delivered("e1", TODAY, 2, "crm")]).await;
    let early = history.event(ACME, "e1").await.expect("an answer").expect("what the delivery tells");
    assert_eq!((early.event.event_type.as_str(), early.body), ("ticket.created", None));
    write(&*history, vec![failed("e1", TODAY, 1, "crm", "late")]).await;
    let mut event = to(bare("e1", TODAY), &["crm"]);
    event.ticket_id = Some("1003".into());
    assert_eq!(write(&*history, vec![record(event)]).await.records, 1);
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    assert_eq!(story.attempts.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((story.delivery.state, story.delivery.attempt_count), (DeliveryState::Delivered, 2));
    assert_eq!(story.delivery.ticket_id.as_deref(), Some("1003"));
    assert_eq!(story.body.as_deref(), Some(&b"{\"rendered\":\"e1\"}"[..]));
    let points = history.stats(&super::stats::by_day(None)).await.expect("an answer");
    assert_eq!(points[0].events, 1, "it is counted when its own record comes");
}

pub(crate) async fn an_end_without_an_attempt_is_dead_and_counts_none(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let records =
        vec![record(to(bare("e1", TODAY), &["crm"])), ended("e1", TODAY, "crm", DeadReason::EndpointDisabled)];
    write(&*history, records).await;
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    let delivery = &story.delivery;
    assert_eq!((delivery.state, delivery.reason), (DeliveryState::Dead, Some(DeadReason::EndpointDisabled)));
    assert_eq!((delivery.attempt_count, story.attempts.len(), &delivery.last), (0, 0, &None));
}

pub(crate) async fn a_resend_is_another_run(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let dead = RecordedVerdict::Dead(DeadReason::Exhausted);
    let last = attempt(recorded(ACME, "e1", TODAY, "crm"), 1, OutcomeClass::ServerError, dead);
    write(&*history, vec![record(to(bare("e1", TODAY), &["crm"])), attempted(last)]).await;
    let later = TODAY + 2 * DAY;
    write(&*history, vec![run(again("e1", TODAY, later))]).await;
    let waiting = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery").delivery;
    assert_eq!((waiting.state, waiting.reason, waiting.run), (DeliveryState::Waiting, None, 2));
    let success = attempt(again("e1", TODAY, later), 1, OutcomeClass::Success, RecordedVerdict::Delivered);
    write(&*history, vec![attempted(success)]).await;
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    let runs: Vec<_> = story.attempts.iter().map(|one| (one.run, one.number)).collect();
    assert_eq!(runs, [(1, 1), (2, 1)]);
    assert_eq!(
        (story.delivery.state, story.delivery.run, story.delivery.attempt_count),
        (DeliveryState::Delivered, 2, 2)
    );
    assert_eq!(story.delivery.last.map(|last| (last.run, last.number)), Some((2, 1)));
    assert_eq!(story.delivery.accepted_at, TODAY, "it stays where it was first accepted");
}

pub(crate) async fn a_delivery_to_another_endpoint_brings_its_body(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    write(&*history, vec![record(to(bare("e1", TODAY), &["crm"]))]).await;
    let mut delivery = recorded(ACME, "e1", TODAY, "bi");
    delivery.run_began = TODAY + 5;
    let body = Some("{\"for\":\"bi\"}".into());
    write(&*history, vec![Record::Run(Box::new(RunRecord { delivery, body }))]).await;
    let story = history.delivery(ACME, of(ACME, "e1", "bi")).await.expect("an answer").expect("a delivery");
    assert_eq!(story.body.as_deref(), Some(&b"{\"for\":\"bi\"}"[..]));
    assert_eq!((story.delivery.state, story.delivery.run), (DeliveryState::Waiting, 1));
    assert_eq!(history.event(ACME, "e1").await.expect("an answer").expect("an event").deliveries.len(), 2);
}

pub(crate) async fn each_shape_of_an_event_is_its_own_body(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut event = to(bare("e1", TODAY), &["crm", "bi"]);
    event.bodies.push("{\"for\":\"bi\"}".into());
    event.deliveries[1].body = 2;
    write(&*history, vec![record(event)]).await;
    for (endpoint, body) in [("crm", "{\"rendered\":\"e1\"}"), ("bi", "{\"for\":\"bi\"}")] {
        let story = history.delivery(ACME, of(ACME, "e1", endpoint)).await.expect("an answer").expect("a delivery");
        assert_eq!(story.body.as_deref(), Some(body.as_bytes()), "{endpoint}");
    }
}

pub(crate) async fn everything_is_there_after_a_restart(mut fixture: Box<dyn Fixture>) {
    let records = vec![message("e1", TODAY, "+55 11 99999-0001", "{}"), delivered("e1", TODAY, 1, "crm")];
    write(&*fixture.history(), records).await;
    fixture.reopen().await;
    let history = fixture.history();
    let filter = history::Filter { contact: Some("551199990001".into()), ..acme() };
    assert_eq!(found(&*history, filter).await, ["e1"], "the tenant's key is the same");
    assert_eq!(write(&*history, vec![delivered("e1", TODAY, 1, "crm")]).await.repeated, 1);
}

pub(crate) async fn no_text_of_an_event_stops_what_comes_after_it(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let (zero, long) = ("10\u{0}03".to_owned(), "é".repeat(20_000));
    let mut strange = to(bare("strange", TODAY), &["crm"]);
    (strange.ticket_id, strange.protocol, strange.contact) =
        (Some(zero.clone()), Some(long.clone()), Some(zero.clone()));
    (strange.channel_id, strange.source) = (Some(zero.clone()), zero.clone());
    let mut distant = bare("distant", TODAY);
    (distant.accepted_at, distant.occurred_at) = (u64::MAX, u64::MAX);
    write(&*history, vec![record(strange), record(distant), record(bare("plain", TODAY + 1))]).await;
    assert_eq!(events(&*history, Filter { until: Some(TODAY + DAY), ..acme() }, 10).await, ["plain", "strange"]);
    for filter in [
        Filter { ticket_id: Some(zero.clone()), ..acme() },
        Filter { protocol: Some(long.clone()), ..acme() },
        Filter { contact: Some(zero.clone()), ..acme() },
        Filter { q: Some(zero.clone()), ..acme() },
    ] {
        assert_eq!(found(&*history, filter.clone()).await, ["strange"], "{filter:?}");
    }
    assert_eq!(history.event(ACME, "\u{0}").await.expect("an answer"), None);
}
