//! Records for the suite, and what is asked of them.

use history::{
    AttemptRecord, Batch, DeliveryItem, EventRecord, Filter, History, OwedDelivery, PageRequest, Post, Record,
    RecordedDelivery, RecordedVerdict, RunRecord, Timing, Unmatched,
};
use schemas::{DeadReason, EventId, EventType, OutcomeClass, Part, delivery_id};
use uuid::Uuid;

pub(crate) const ACME: &str = "acme@1";
pub(crate) const ZETA: &str = "zeta@2";
pub(crate) const DAY: u64 = 24 * 3_600_000;
/// A moment in the afternoon.
pub(crate) const TODAY: u64 = 20_000 * DAY + 15 * 3_600_000;

pub(crate) fn batch(records: Vec<Record>) -> Batch {
    Batch { process: "p1".into(), covers_until: TODAY, ends: true, gaps: Vec::new(), records }
}

pub(crate) fn id(text: &str) -> EventId {
    EventId::try_from(text.to_owned()).expect("an id")
}

pub(crate) fn of(tenant: &str, event: &str, endpoint: &str) -> Uuid {
    delivery_id(tenant, &id(event), endpoint, Part::First)
}

/// An event of acme without deliveries.
pub(crate) fn bare(event: &str, accepted_at: u64) -> EventRecord {
    EventRecord {
        tenant: ACME.into(),
        id: id(event),
        event_type: EventType::TICKET_CREATED,
        source: "whazing".into(),
        accepted_at,
        occurred_at: accepted_at - 5,
        channel_id: Some("7".into()),
        queue_id: None,
        ticket_id: None,
        protocol: None,
        contact: None,
        deliveries: Vec::new(),
        unmatched: Vec::new(),
        bodies: vec![format!("{{\"id\":\"{event}\"}}").into()],
    }
}

/// The event with deliveries to these endpoints, which get one body.
pub(crate) fn to(mut event: EventRecord, endpoints: &[&str]) -> EventRecord {
    event.bodies.push(format!("{{\"rendered\":\"{}\"}}", event.id).into());
    for endpoint in endpoints {
        event.deliveries.push(OwedDelivery {
            id: delivery_id(&event.tenant, &event.id, endpoint, Part::First),
            endpoint_id: (*endpoint).into(),
            part: String::new(),
            subscriptions: vec!["all".into(), format!("of-{endpoint}")],
            body: 1,
            run_began: event.accepted_at,
        });
    }
    event
}

pub(crate) fn unmatched(mut event: EventRecord, reason: &str) -> EventRecord {
    let unmatched = Unmatched { subscription_id: "s".into(), endpoint_id: "crm".into(), reason: reason.into() };
    event.unmatched.push(unmatched);
    event
}

pub(crate) fn record(event: EventRecord) -> Record {
    Record::Event(Box::new(event))
}

/// A message of a contact, delivered to crm.
pub(crate) fn message(event: &str, accepted_at: u64, contact: &str, body: &str) -> Record {
    let mut event = to(bare(event, accepted_at), &["crm"]);
    event.contact = Some(contact.into());
    event.bodies[0] = body.to_owned().into();
    record(event)
}

pub(crate) fn recorded(tenant: &str, event: &str, accepted_at: u64, endpoint: &str) -> RecordedDelivery {
    RecordedDelivery {
        id: of(tenant, event, endpoint),
        tenant: tenant.into(),
        event_id: id(event),
        event_type: EventType::TICKET_CREATED,
        endpoint_id: endpoint.into(),
        part: String::new(),
        accepted_at,
        run_began: accepted_at,
        subscriptions: vec!["all".into()],
    }
}

pub(crate) fn post(outcome: OutcomeClass, excerpt: &str) -> Post {
    Post {
        outcome,
        status: Some(if outcome == OutcomeClass::Success { 200 } else { 503 }),
        duration_ms: 40,
        timing: Timing { connect_ms: Some(3), ..Timing::default() },
        remote_address: Some("192.0.2.1:443".into()),
        reused: false,
        request_headers: vec![("webhook-id".into(), "e".into())],
        response_headers: vec![("server".into(), "x".into())],
        response_excerpt: excerpt.into(),
    }
}

pub(crate) fn attempt(
    delivery: RecordedDelivery,
    number: u32,
    outcome: OutcomeClass,
    verdict: RecordedVerdict,
) -> AttemptRecord {
    let at = delivery.run_began + u64::from(number) * 1_000;
    AttemptRecord { delivery, number, at, post: Some(post(outcome, "")), verdict, deferrals: 0 }
}

pub(crate) fn attempted(attempt: AttemptRecord) -> Record {
    Record::Attempt(Box::new(attempt))
}

/// An attempt that failed, after which another is due.
pub(crate) fn failed(event: &str, accepted_at: u64, number: u32, endpoint: &str, excerpt: &str) -> Record {
    let delivery = recorded(ACME, event, accepted_at, endpoint);
    let due = RecordedVerdict::Retry(accepted_at + 60_000);
    let mut attempt = attempt(delivery, number, OutcomeClass::ServerError, due);
    attempt.post = Some(post(OutcomeClass::ServerError, excerpt));
    attempted(attempt)
}

pub(crate) fn delivered(event: &str, accepted_at: u64, number: u32, endpoint: &str) -> Record {
    let delivery = recorded(ACME, event, accepted_at, endpoint);
    attempted(attempt(delivery, number, OutcomeClass::Success, RecordedVerdict::Delivered))
}

/// The end of a delivery without an attempt.
pub(crate) fn ended(event: &str, accepted_at: u64, endpoint: &str, reason: DeadReason) -> Record {
    let delivery = recorded(ACME, event, accepted_at, endpoint);
    attempted(AttemptRecord {
        delivery,
        number: 1,
        at: accepted_at + 1,
        post: None,
        verdict: RecordedVerdict::Dead(reason),
        deferrals: 0,
    })
}

/// The same delivery in another life.
pub(crate) fn again(event: &str, accepted_at: u64, began: u64) -> RecordedDelivery {
    RecordedDelivery { run_began: began, ..recorded(ACME, event, accepted_at, "crm") }
}

pub(crate) fn run(delivery: RecordedDelivery) -> Record {
    Record::Run(Box::new(RunRecord { delivery, body: None }))
}

pub(crate) async fn write(history: &dyn History, records: Vec<Record>) -> history::Written {
    history.write(batch(records), None, 0).await.expect("written")
}

pub(crate) fn acme() -> Filter {
    Filter { tenant: Some(ACME.into()), ..Filter::default() }
}

/// All deliveries of a filter, page by page.
pub(crate) async fn deliveries(history: &dyn History, filter: Filter, limit: usize) -> Vec<DeliveryItem> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let asked = PageRequest { filter: filter.clone(), limit, after };
        let page = history.deliveries(&asked).await.expect("a page");
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        let Some(next) = page.next else { return all };
        after = Some(next.to_string().parse().expect("a cursor that an answer gave"));
    }
}

/// The ids of all events of a filter, page by page.
pub(crate) async fn events(history: &dyn History, filter: Filter, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let asked = PageRequest { filter: filter.clone(), limit, after };
        let page = history.events(&asked).await.expect("a page");
        all.extend(page.items.into_iter().map(|event| event.id));
        let Some(next) = page.next else { return all };
        after = Some(next);
    }
}

/// The events of deliveries of a filter.
pub(crate) async fn found(history: &dyn History, filter: Filter) -> Vec<String> {
    deliveries(history, filter, 100).await.into_iter().map(|delivery| delivery.event_id).collect()
}
