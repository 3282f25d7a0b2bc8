//! Requests that search for dead letters: one at a time for a tenant, in turns, and each in its own part of the log.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use broker::{Broker as _, Log, Record, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::join_all};
use schemas::{Notice, Tenant};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::MemoryStore;
use tokio::sync::watch;

use super::{
    fixture::{DeadDelivery, Fixture, NOW, OPERATOR, append, append_body},
    reading_broker::ReadingBroker,
};
use crate::NotStarted;

/// Every call that searches for dead letters.
const SCANS: [(&str, &str, &str); 4] = [
    ("GET", "dead-letters?order=oldest", ""),
    ("POST", "replays", r#"{"filter":{},"dry_run":true}"#),
    ("POST", "dead-letters/discard", r#"{"filter":{}}"#),
    ("POST", "replays", r#"{"filter":{}}"#),
];

/// A control of some tenants whose logs cannot be read until the sender says true. The last tenant has a dead letter.
async fn fixture() -> (Fixture, watch::Sender<bool>) {
    let memory = Memory::calm(Arc::new(|| NOW));
    let gate = watch::Sender::new(false);
    let closed = gate.subscribe();
    let reading_broker = ReadingBroker::new(&memory, move |records| {
        let mut gate = closed.clone();
        let opened = async move {
            gate.wait_for(|open| *open).await.unwrap();
            records
        };
        opened.flatten_stream().boxed()
    });
    let store = MemoryStore::new((0..9).map(|nth| Tenant::new(format!("t{nth}"))));
    append(&memory, &DeadDelivery::default().to("t8", "crm")).await;
    (Fixture::over(Arc::new(reading_broker), memory, Arc::new(store)), gate)
}

async fn scan(fixture: &Fixture, tenant: usize, (method, path, body): (&str, &str, &str)) -> (u16, Value) {
    fixture.ask_as(Some(OPERATOR), method, &format!("/v1/tenants/t{tenant}/{path}"), body).await
}

#[tokio::test]
async fn a_tenant_reads_the_log_once_at_a_time_until_the_answer_or_a_hang_up() {
    let (fixture, gate) = fixture().await;
    for first in SCANS {
        let mut scanning = Box::pin(scan(&fixture, 0, first));
        assert!((&mut scanning).now_or_never().is_none(), "{first:?} reads");
        for second in SCANS {
            let (status, refused) = scan(&fixture, 0, second).now_or_never().expect("it does not wait");
            assert_eq!((status, &refused["code"]), (429, &"too_many_requests".into()), "{second:?} beside {first:?}");
        }
        // Dropping the request simulates a caller that has hung up.
    }
    let mut scanning = Box::pin(scan(&fixture, 0, SCANS[0]));
    assert!((&mut scanning).now_or_never().is_none());
    gate.send_replace(true);
    assert_eq!(scanning.await.0, 200);
    for (again, status) in SCANS.into_iter().zip([200, 200, 200, 202]) {
        assert_eq!(scan(&fixture, 0, again).await.0, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_takes_too_long_says_so_and_goes_on_when_it_is_asked_again() {
    let (fixture, gate) = fixture().await;
    for search in SCANS {
        let (status, problem) = scan(&fixture, 0, search).await;
        assert_eq!((status, &problem["code"]), (503, &"unavailable".into()), "{search:?}");
        assert!(problem["detail"].as_str().unwrap().contains("ask again"), "{problem}");
    }
    gate.send_replace(true);
    for (again, status) in SCANS.into_iter().zip([200, 200, 200, 202]) {
        assert_eq!(scan(&fixture, 0, again).await.0, status);
    }
    let told = Problem::from(NotStarted::TooSlow);
    assert!(told.code == Code::Unavailable && told.retry_after.is_some());
}

/// A control of these tenants, and a number that counts the records which were read.
fn counting_fixture(tenants: impl IntoIterator<Item = &'static str>) -> (Fixture, Arc<AtomicUsize>) {
    let memory = Memory::calm(Arc::new(|| NOW));
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let reading_broker = ReadingBroker::new(&memory, move |records| {
        let read = counted.clone();
        let yielding = records.and_then(move |record| {
            read.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().map(|()| Ok(record))
        });
        yielding.boxed()
    });
    let store = MemoryStore::new(tenants.into_iter().map(Tenant::new));
    (Fixture::over(Arc::new(reading_broker), memory, Arc::new(store)), read)
}

async fn die(fixture: &Fixture, tenant: &str, events: Range<u64>) {
    for event in events {
        append(&fixture.broker, &DeadDelivery::default().event(&format!("e{event}")).to(tenant, "crm")).await;
    }
}

#[tokio::test]
async fn a_tenant_with_few_records_is_answered_while_others_search_through_many() {
    let others = ["t0", "t1", "t2", "t3", "t4", "t5"];
    let (fixture, read) = counting_fixture(others.into_iter().chain(["few"]));
    for tenant in others {
        die(&fixture, tenant, 0..3_000).await;
    }
    die(&fixture, "few", 0..3).await;
    index(&fixture).await;
    let list = async |tenant: &str| {
        let (status, page) =
            fixture.ask_as(Some(OPERATOR), "GET", &format!("/v1/tenants/{tenant}/dead-letters?limit=9"), "").await;
        (status, page["items"].as_array().map(Vec::len))
    };
    let mut searching: Vec<_> = others.iter().map(|tenant| Box::pin(list(tenant))).collect();
    let before = read.load(Ordering::SeqCst);
    let few = async {
        while read.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        list("few").await
    };
    let mut many = Box::pin(join_all(&mut searching));
    tokio::select! {
        biased;
        _ = &mut many => panic!("the others were faster"),
        few = few => assert_eq!(few, (200, Some(3))),
    }
    assert_eq!(many.await, [(200, Some(9)); 6]);
}

#[tokio::test]
async fn a_first_page_of_few_records_behind_many_of_others_reads_few() {
    let (fixture, read) = counting_fixture(["acme", "many"]);
    die(&fixture, "acme", 0..2).await;
    die(&fixture, "many", 0..5_000).await;
    die(&fixture, "acme", 2..5).await;
    die(&fixture, "many", 5_000..10_000).await;
    index(&fixture).await;
    let ask = async |method, path, body: &str| {
        let before = read.load(Ordering::SeqCst);
        let answer = fixture.ask_as(Some(OPERATOR), method, &format!("/v1/tenants/acme/{path}"), body).await;
        (answer, read.load(Ordering::SeqCst) - before)
    };
    let ((status, page), cost) = ask("GET", "dead-letters", "").await;
    let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    assert_eq!((status, &ids[..]), (200, &["5004", "5003", "5002", "1", "0"][..]), "{page}");
    assert!(cost <= 20, "{cost} records were read");

    // What died since is found too, from where the last search was.
    die(&fixture, "acme", 5..6).await;
    let ((status, counted), cost) = ask("POST", "replays", r#"{"filter":{},"dry_run":true}"#).await;
    assert_eq!((status, &counted["matched"]), (200, &6.into()));
    assert!(cost <= 1, "{cost} records were read");
    let ((status, page), cost) = ask("GET", "dead-letters?ids=5003", "").await;
    assert_eq!((status, &page["items"][0]["id"]), (200, &"5003".into()));
    assert!(cost <= 10, "{cost} records were read");
}

/// The tenant `acme` with so many dead letters, and as many parked messages.
async fn with_both_logs(reading_broker: ReadingBroker, memory: Memory, count: u64) -> Fixture {
    let store = MemoryStore::new([Tenant::new("acme")]);
    let fixture = Fixture::over(Arc::new(reading_broker), memory, Arc::new(store));
    fixture.append(count).await;
    for record in fixture.broker.records(Log::Dead) {
        fixture.broker.publish(&Target::Log(Log::Parked, "panic.acme".into()), &record.message).await.unwrap();
    }
    fixture
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_read_slowly_ends_early_and_the_next_goes_on() {
    let memory = Memory::calm(Arc::new(|| NOW));
    let slow = watch::Sender::new(false);
    let is_slow = slow.subscribe();
    let reading_broker = ReadingBroker::new(&memory, move |records| {
        let pause = if *is_slow.borrow() { Duration::from_secs(3) } else { Duration::ZERO };
        records.and_then(move |record| tokio::time::sleep(pause).map(|()| Ok(record))).boxed()
    });
    let fixture = with_both_logs(reading_broker, memory, 10).await;
    for path in ["/v1/tenants/acme/dead-letters", "/v1/parked"] {
        slow.send_replace(false);
        assert_eq!(fixture.ask_as(Some(OPERATOR), "GET", path, "").await.0, 200, "the search is over");
        slow.send_replace(true);
        let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
        assert_eq!((status, page["items"].as_array().map(Vec::len)), (200, Some(4)), "{path}");
        let next = format!("{path}?cursor={}", page["next"].as_str().unwrap());
        let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", &next, "").await;
        assert_eq!(
            (status, &page["items"][0]["id"], &page["items"][3]["id"]),
            (200, &"5".into(), &"2".into()),
            "{path}"
        );
    }
}

/// Has the log read to its end once.
async fn index(fixture: &Fixture) {
    let (mut notices, control) = (fixture.broker.notices(), fixture.control.clone());
    let following = tokio::spawn(async move { control.watch_dead_letters().await });
    while !matches!(Notice::read(&notices.next().await.unwrap()), Some(Notice::DeadLetterRetention(_))) {}
    following.abort();
}

/// A body that counts how many there are at once.
struct CountedBody(Arc<AtomicUsize>);

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        b"{}"
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_list_holds_one_body_at_a_time() {
    let memory = Memory::calm(Arc::new(|| NOW));
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_held = most.clone();
    let reading_broker = ReadingBroker::new(&memory, move |records| {
        let (held, most) = (held.clone(), most_held.clone());
        let counted = records.map_ok(move |mut record: Record| {
            most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            record.message.body = Bytes::from_owner(CountedBody(held.clone()));
            record
        });
        counted.boxed()
    });
    let fixture = with_both_logs(reading_broker, memory, 50).await;
    for path in ["/v1/tenants/acme/dead-letters?limit=40", "/v1/parked?limit=40"] {
        let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
        assert_eq!((status, page["items"].as_array().map(Vec::len)), (200, Some(40)), "{path}");
        assert!(page["next"].is_string() && page["items"][0].get("body").is_none(), "{path}");
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{path}: {most:?}");
    }
}

#[tokio::test]
async fn a_page_with_bodies_ends_after_some_megabytes_and_the_next_goes_on() {
    let (fixture, _) = counting_fixture(["acme"]);
    for event in 0..20 {
        let dead = DeadDelivery::default().event(&format!("e{event}"));
        append_body(&fixture.broker, &dead, vec![b' '; 1 << 20].into()).await;
    }
    for order in ["newest", "oldest"] {
        let (mut seen, mut path) = (0, format!("/v1/dead-letters?bodies=true&order={order}"));
        for expected in [8, 8, 4] {
            let (_, page) = fixture.ask_as(Some(OPERATOR), "GET", &path, "").await;
            let items = page["items"].as_array().unwrap();
            assert_eq!(items.len(), expected, "{order}");
            seen += items.len();
            path = format!(
                "/v1/dead-letters?bodies=true&order={order}&cursor={}",
                page["next"].as_str().unwrap_or_default()
            );
        }
        assert_eq!(seen, 20);
    }
}

#[tokio::test]
async fn a_page_after_the_first_reads_its_own_records() {
    let (fixture, read) = counting_fixture(["acme"]);
    fixture.append(100).await;
    let list = "/v1/tenants/acme/dead-letters?limit=10";
    let (mut ids, mut path, mut costs) = (vec![], list.to_owned(), vec![]);
    loop {
        let before = read.load(Ordering::SeqCst);
        let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", &path, "").await;
        assert_eq!(status, 200, "{page}");
        costs.push(read.load(Ordering::SeqCst) - before);
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|letter| letter["id"].as_str().unwrap().parse::<u64>().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{list}&cursor={next}");
    }
    assert_eq!(ids, (0..100).rev().collect::<Vec<_>>());
    assert!(costs[0] >= 100 && costs[1..].iter().all(|cost| *cost <= 13), "{costs:?}");
}

#[tokio::test]
async fn a_first_page_of_many_reads_the_newest_only_and_each_page_a_bounded_piece() {
    let (fixture, read) = counting_fixture(["acme"]);
    fixture.append(20_000).await;
    let ask = async |path: &str| {
        let before = read.load(Ordering::SeqCst);
        let (status, answer) = fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
        assert_eq!(status, 200, "{answer}");
        (answer, read.load(Ordering::SeqCst) - before)
    };
    // Nothing was indexed yet.
    for list in ["/v1/dead-letters?limit=100", "/v1/tenants/acme/dead-letters?limit=100"] {
        let (page, cost) = ask(list).await;
        assert_eq!((&page["items"][0]["id"], &page["items"][99]["id"]), (&"19999".into(), &"19900".into()));
        assert!(cost < 700, "{cost} records were read");
        let (_, next) = ask(&format!("{list}&cursor={}", page["next"].as_str().unwrap())).await;
        assert!(next < 110, "{next} records were read");
    }
    let (counts, cost) = ask("/v1/dead-letters/counts?by=tenant").await;
    assert_eq!((&counts["items"][0]["count"], &counts["counted"]), (&20_000.into(), &"exactly".into()));
    assert!(cost < 20_000, "what was read is not read again: {cost}");
}

#[tokio::test]
async fn pages_show_each_letter_once_while_letters_come_in_and_are_replayed() {
    let (fixture, _) = counting_fixture(["acme"]);
    fixture.append(1_500).await;
    let (mut ids, mut path) = (vec![], "/v1/dead-letters?limit=400".to_owned());
    for more in 0.. {
        let (_, page) = fixture.ask_as(Some(OPERATOR), "GET", &path, "").await;
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|letter| letter["id"].as_str().unwrap().parse::<u64>().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/dead-letters?limit=400&cursor={next}");
        die(&fixture, "acme", 2_000 + more..2_001 + more).await;
        // One that is still to come, and one that was shown.
        for offset in [more * 10, 1_400 - more] {
            let dead = DeadDelivery::default().event(&format!("e{offset}"));
            let (to, marker) = broker::records::ReplayMarker::of(&dead.delivery, offset, "job", NOW);
            fixture.broker.publish(&to, &marker).await.unwrap();
        }
    }
    let expected: Vec<u64> = (0..1_500).rev().filter(|id| ![0, 10, 20].contains(id)).collect();
    assert_eq!(ids, expected);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_takes_too_long_says_how_many_there_are_at_least() {
    let memory = Memory::calm(Arc::new(|| NOW));
    let reading_broker = ReadingBroker::new(&memory, |records| {
        records.and_then(|record| tokio::time::sleep(Duration::from_millis(20)).map(|()| Ok(record))).boxed()
    });
    let store = MemoryStore::new([Tenant::new("acme")]);
    let fixture = Fixture::over(Arc::new(reading_broker), memory, Arc::new(store));
    fixture.append(1_200).await;
    let count = async || {
        let path = "/v1/tenants/acme/dead-letters/counts";
        let (status, counts) = fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
        (status, counts["total"].as_u64().unwrap(), counts["counted"].as_str().unwrap().to_owned())
    };
    let (status, total, counted) = count().await;
    assert!(status == 200 && (900..1_100).contains(&total) && counted == "at_least", "{total} {counted}");
    assert_eq!(count().await, (200, 1_200, "exactly".to_owned()));
}
