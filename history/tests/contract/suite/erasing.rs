//! What is removed on request.

use history::{Erased, Erasure, Filter, History, token};

use crate::{fixture::Fixture, records::*};

pub(crate) const BYTES: u64 = crate::fixture::MAX_BYTES;

fn of_contact(contact: &str) -> Filter {
    Filter { contact: Some(contact.into()), ..acme() }
}

/// What erases a contact of a tenant.
pub(crate) async fn contact(history: &dyn History, tenant: &str, contact: &str) -> Erasure {
    Erasure::Contact(token(&history.tenant_key(tenant).await.expect("a key"), contact))
}

pub(crate) async fn an_erased_contact_keeps_its_attempts_and_nothing_else(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut records = Vec::new();
    for days in 0..3 {
        let at = TODAY - days * DAY;
        let event = format!("e{days}");
        records.push(message(&event, at, "+55 11 99999-0001", "{\"text\":\"secret\"}"));
        records.push(failed(&event, at, 1, "crm", "Maria said"));
    }
    records.push(message("other", TODAY, "+55 11 98888-0002", "{\"text\":\"kept\"}"));
    write(&*history, records).await;
    let erased = history.erase(ACME, &contact(&*history, ACME, "551199990001").await).await.expect("an answer");
    assert_eq!(erased, Erased { events: 3, deliveries: 3 });
    assert_eq!(found(&*history, of_contact("5511999990001")).await, [""; 0]);
    let are_erased = |erased| Filter { erased: Some(erased), ..acme() };
    assert_eq!(found(&*history, are_erased(true)).await, ["e0", "e1", "e2"]);
    assert_eq!(found(&*history, are_erased(false)).await, ["other"]);
    let story =
        history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("that it was sent stays");
    assert!(story.erased && story.body.is_none());
    let attempt = &story.attempts[0].post;
    assert_eq!((attempt.status, attempt.response_excerpt.as_str()), (Some(503), ""));
    assert!(attempt.request_headers.is_empty() && attempt.response_headers.is_empty());
    assert_eq!(history.event(ACME, "e1").await.expect("an answer").expect("an event").body, None);
    assert_eq!(found(&*history, of_contact("5511988880002")).await, ["other"], "others stay");
    assert!(history.event(ACME, "other").await.expect("an answer").expect("an event").body.is_some());
    let again = history.erase(ACME, &contact(&*history, ACME, "551199990001").await).await.expect("an answer");
    assert_eq!(again, Erased::default());
    let foreign = history.erase(ZETA, &contact(&*history, ZETA, "5511988880002").await).await.expect("an answer");
    assert_eq!(foreign, Erased::default());
}

pub(crate) async fn an_erased_event_stays_so_whatever_comes_late(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    write(&*history, vec![message("e1", TODAY, "5511999990001", "{\"text\":\"secret\"}")]).await;
    let erased = history.erase(ACME, &Erasure::Events(vec!["e1".into(), "nothing".into()])).await.expect("an answer");
    assert_eq!(erased, Erased { events: 1, deliveries: 1 });
    let late =
        vec![message("e1", TODAY, "5511999990001", "{\"text\":\"secret\"}"), failed("e1", TODAY, 1, "crm", "Maria")];
    write(&*history, late).await;
    let story = history.delivery(ACME, of(ACME, "e1", "crm")).await.expect("an answer").expect("a delivery");
    assert_eq!((story.body, story.attempts[0].post.response_excerpt.as_str()), (None, ""));
    assert_eq!(history.event(ACME, "e1").await.expect("an answer").expect("an event").body, None);
    assert_eq!(found(&*history, of_contact("5511999990001")).await, [""; 0]);
}

pub(crate) async fn a_forgotten_tenant_begins_empty(mut fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    write(&*history, vec![message("e1", TODAY, "5511999990001", "{}"), delivered("e1", TODAY, 1, "crm")]).await;
    history.forget_tenant(ACME).await.expect("an answer");
    assert_eq!(events(&*history, acme(), 10).await, [""; 0]);
    assert_eq!(deliveries(&*history, Filter::default(), 10).await, [], "nobody sees it any more");
    write(&*history, vec![message("e2", TODAY, "5511999990001", "{}")]).await;
    assert_eq!(found(&*history, of_contact("5511999990001")).await, ["e2"]);
    drop(history);
    fixture.reopen().await;
    assert_eq!(events(&*fixture.history(), acme(), 10).await, ["e2"]);
}
