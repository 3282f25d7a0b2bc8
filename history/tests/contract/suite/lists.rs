//! Lists: filters, pages, and whose they are.

use history::{DeliveryState, Filter, RecordedVerdict};
use schemas::{DeadReason, EventType, OutcomeClass};

use crate::{fixture::Fixture, records::*};

pub(crate) const BYTES: u64 = crate::fixture::MAX_BYTES;

pub(crate) async fn each_filter_finds_what_it_names(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut meant = to(bare("meant", TODAY), &["crm"]);
    meant.event_type = EventType::TICKET_CLOSED;
    (meant.channel_id, meant.queue_id) = (Some("8".into()), Some("12".into()));
    (meant.ticket_id, meant.protocol, meant.contact) =
        (Some("1003".into()), Some("2025".into()), Some("+55 11 99999-0001".into()));
    let mut others = to(bare("other", TODAY + DAY), &["bi"]);
    (others.ticket_id, others.protocol, others.contact) =
        (Some("7".into()), Some("8".into()), Some("+55 11 98888-0002".into()));
    let dead = RecordedVerdict::Dead(DeadReason::Exhausted);
    let mut last = attempt(recorded(ACME, "meant", TODAY, "crm"), 1, OutcomeClass::Timeout, dead);
    last.delivery.event_type = EventType::TICKET_CLOSED;
    let records = vec![
        record(meant),
        attempted(last),
        record(others),
        delivered("other", TODAY + DAY, 1, "bi"),
        record(bare("alone", TODAY + 2)),
    ];
    write(&*history, records).await;
    assert_eq!(found(&*history, acme()).await, ["other", "meant"], "all of them, newest first");
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        Filter { state: Some(DeliveryState::Dead), ..acme() },
        Filter { endpoint_id: text("crm"), ..acme() },
        Filter { event_type: text("ticket.closed"), ..acme() },
        Filter { event_id: text("meant"), ..acme() },
        Filter { channel_id: text("8"), ..acme() },
        Filter { queue_id: text("12"), ..acme() },
        Filter { ticket_id: text("1003"), ..acme() },
        Filter { protocol: text("2025"), ..acme() },
        Filter { contact: text("5511999990001@s.whatsapp.net"), ..acme() },
        Filter { outcome: Some(OutcomeClass::Timeout), ..acme() },
        Filter { reason: Some(DeadReason::Exhausted), ..acme() },
        Filter { until: Some(TODAY + 1), ..acme() },
        Filter {
            since: Some(TODAY),
            until: Some(TODAY + 1),
            endpoint_id: text("crm"),
            ticket_id: text("1003"),
            ..acme()
        },
    ];
    for filter in filters {
        assert_eq!(found(&*history, filter.clone()).await, ["meant"], "{filter:?}");
        assert_eq!(
            events(&*history, Filter { matched: Some(true), ..filter.clone() }, 10).await,
            ["meant"],
            "{filter:?}"
        );
    }
    for filter in [
        Filter { ticket_id: text("1003"), endpoint_id: text("bi"), ..acme() },
        Filter { state: Some(DeliveryState::Waiting), ..acme() },
        Filter { since: Some(TODAY + DAY + 1), ..acme() },
        Filter { contact: text("5511999990003"), ..acme() },
        Filter { tenant: text("nobody@1"), ..Filter::default() },
    ] {
        assert_eq!(found(&*history, filter.clone()).await, [""; 0], "{filter:?}");
    }
    assert_eq!(events(&*history, Filter { matched: Some(false), ..acme() }, 10).await, ["alone"]);
    let other = Filter { since: Some(TODAY + DAY), ..acme() };
    assert_eq!(found(&*history, other).await, ["other"], "a time begins with itself");
}

pub(crate) async fn pages_together_are_the_list_across_days(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    // Some of the same millisecond, of three days, with one, two and three deliveries.
    let all: Vec<_> = (0..60_u64)
        .map(|nth| {
            let at = TODAY - nth / 2 * (DAY / 10);
            let endpoints = &["a", "b", "c"][..1 + nth as usize % 3];
            record(to(bare(&format!("e{nth}"), at), endpoints))
        })
        .collect();
    write(&*history, all).await;
    let whole = deliveries(&*history, acme(), 1_000).await;
    assert_eq!(whole.len(), 120);
    assert!(whole.windows(2).all(|two| two[0].accepted_at >= two[1].accepted_at), "newest first");
    let whole_events = events(&*history, acme(), 1_000).await;
    for limit in [1, 7, 59, 119, 120] {
        assert_eq!(deliveries(&*history, acme(), limit).await, whole, "{limit} at a time");
        assert_eq!(events(&*history, acme(), limit).await, whole_events, "{limit} at a time");
    }
    let first = history::PageRequest { filter: acme(), limit: 5, after: None };
    let next = history.deliveries(&first).await.expect("an answer").next;
    write(&*history, vec![record(to(bare("new", TODAY + 1), &["a"]))]).await;
    let second = history::PageRequest { after: next, ..first };
    let items = history.deliveries(&second).await.expect("an answer").items;
    assert_eq!(items, whole[5..10], "what is new comes in between of no page");
    for filter in [
        Filter { endpoint_id: Some("b".into()), ..acme() },
        Filter { state: Some(DeliveryState::Waiting), ..acme() },
        Filter { channel_id: Some("7".into()), ..acme() },
        Filter::default(),
    ] {
        let whole = deliveries(&*history, filter.clone(), 1_000).await;
        assert_eq!(deliveries(&*history, filter.clone(), 4).await, whole, "{filter:?}");
        assert!(whole.len() >= 40, "{filter:?}");
    }
}

pub(crate) async fn a_search_finds_any_id(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut event = to(bare("e-1", TODAY), &["crm"]);
    (event.ticket_id, event.protocol, event.contact) =
        (Some("1003".into()), Some("2025".into()), Some("5511999990001".into()));
    let mut second = event.deliveries[0].clone();
    (second.id, second.part) = (uuid::Uuid::from_u128(7), "2".into());
    event.deliveries.push(second);
    write(&*history, vec![record(event), record(to(bare("e-2", TODAY + 1), &["crm"]))]).await;
    let search = |text: &str| Filter { q: Some(text.to_owned()), ..acme() };
    for text in ["e-1", "1003", " 2025 ", "+55 11 99999-0001"] {
        assert_eq!(deliveries(&*history, search(text), 10).await.len(), 2, "{text}");
        assert_eq!(events(&*history, search(text), 10).await, ["e-1"], "{text}");
    }
    for text in [of(ACME, "e-1", "crm").to_string(), "e-1_2".to_owned()] {
        assert_eq!(deliveries(&*history, search(&text), 10).await.len(), 1, "{text}");
        assert_eq!(events(&*history, search(&text), 10).await, ["e-1"], "{text}");
    }
    assert_eq!(deliveries(&*history, search("nothing"), 10).await, []);
    let with_more = Filter { endpoint_id: Some("bi".into()), ..search("1003") };
    assert_eq!(deliveries(&*history, with_more, 10).await, [], "the other fields hold, too");
}

pub(crate) async fn no_answer_has_another_tenants(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut own = to(bare("e1", TODAY), &["crm"]);
    (own.ticket_id, own.contact) = (Some("1003".into()), Some("5511999990001".into()));
    let mut foreign = own.clone();
    foreign.tenant = ZETA.into();
    foreign.deliveries[0].id = of(ZETA, "e1", "crm");
    write(&*history, vec![record(own), record(foreign)]).await;
    let zeta = Filter { tenant: Some(ZETA.into()), ..Filter::default() };
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        zeta.clone(),
        Filter { ticket_id: text("1003"), ..zeta.clone() },
        Filter { contact: text("5511999990001"), ..zeta.clone() },
        Filter { endpoint_id: text("crm"), ..zeta.clone() },
        Filter { q: text("e1"), ..zeta.clone() },
        Filter { state: Some(DeliveryState::Waiting), ..zeta.clone() },
    ] {
        let items = deliveries(&*history, filter.clone(), 10).await;
        assert!(items.len() == 1 && items[0].tenant == ZETA, "{filter:?}: {items:?}");
        assert_eq!(events(&*history, filter, 10).await, ["e1"]);
    }
    assert_eq!(history.delivery(ZETA, of(ACME, "e1", "crm")).await.expect("an answer"), None);
    assert_eq!(deliveries(&*history, Filter::default(), 10).await.len(), 2, "the operator sees both");
    for filter in [
        Filter { ticket_id: text("1003"), ..Filter::default() },
        Filter { contact: text("5511999990001"), ..Filter::default() },
        Filter { endpoint_id: text("crm"), ..Filter::default() },
    ] {
        assert_eq!(deliveries(&*history, filter.clone(), 10).await.len(), 2, "{filter:?}");
    }
}

/// A generator that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(crate) async fn random_records_are_listed_as_a_naive_model_lists_them(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut numbers = Numbers(7);
    let mut records = Vec::new();
    let mut model = Vec::new();
    for nth in 0..200 {
        let at = TODAY - numbers.below(4 * DAY);
        let (ticket, endpoint) = (numbers.below(5), ["a", "b", "c"][numbers.below(3) as usize]);
        let name = format!("e{nth}");
        let mut event = to(bare(&name, at), &[endpoint]);
        event.ticket_id = Some(ticket.to_string());
        records.push(record(event));
        let state = match numbers.below(3) {
            0 => DeliveryState::Waiting,
            1 => {
                records.push(delivered(&name, at, 2, endpoint));
                records.push(failed(&name, at, 1, endpoint, ""));
                DeliveryState::Delivered
            }
            _ => {
                records.push(ended(&name, at, endpoint, DeadReason::Cancelled));
                DeliveryState::Dead
            }
        };
        model.push((at, name, ticket, endpoint, state));
    }
    // Each comes twice, in any order, in batches of three.
    let mut shuffled: Vec<_> =
        records.iter().chain(&records).map(|record| (numbers.below(u64::MAX >> 33), record)).collect();
    shuffled.sort_by_key(|(place, _)| *place);
    for three in shuffled.chunks(3) {
        write(&*history, three.iter().map(|(_, record)| (*record).clone()).collect()).await;
    }
    for _ in 0..40 {
        let (ticket, endpoint) = (numbers.below(6), ["a", "b", "c", "d"][numbers.below(4) as usize]);
        let state = [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::Dead][numbers.below(3) as usize];
        let use_of = numbers.below(8);
        let filter = Filter {
            ticket_id: (use_of & 1 > 0).then(|| ticket.to_string()),
            endpoint_id: (use_of & 2 > 0).then(|| endpoint.to_owned()),
            state: (use_of & 4 > 0).then_some(state),
            ..acme()
        };
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(_, _, of, to, is)| {
                (use_of & 1 == 0 || *of == ticket)
                    && (use_of & 2 == 0 || *to == endpoint)
                    && (use_of & 4 == 0 || *is == state)
            })
            .map(|(at, name, ..)| (*at, name.clone()))
            .collect();
        let limit = 1 + numbers.below(50) as usize;
        let listed = deliveries(&*history, filter.clone(), limit).await;
        assert!(listed.windows(2).all(|two| two[0].accepted_at >= two[1].accepted_at));
        let mut listed: Vec<_> = listed.into_iter().map(|one| (one.accepted_at, one.event_id)).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected, "{filter:?}");
    }
}
