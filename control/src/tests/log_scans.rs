//! Requests that read the whole log of dead letters: one at a time for a tenant, and a few for all.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use broker::{Broker as _, Log, Record, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use schemas::Tenant;
use serde_json::Value;
use service::problem::{Code, Problem};
use store::MemoryStore;
use tokio::sync::watch;

use super::{
    fixture::{Fixture, NOW, OPERATOR},
    reading_broker::ReadingBroker,
};
use crate::NotStarted;

/// Every call that reads the whole log.
const SCANS: [(&str, &str, &str); 3] =
    [("GET", "dead-letters", ""), ("POST", "replays", r#"{"dry_run":true}"#), ("POST", "replays", "{}")];

/// A control of some tenants whose logs cannot be read until the sender says true.
fn fixture() -> (Fixture, watch::Sender<bool>) {
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
    (Fixture::over(Arc::new(reading_broker), memory, Arc::new(store)), gate)
}

async fn scan(fixture: &Fixture, tenant: usize, (method, path, body): (&str, &str, &str)) -> (u16, Value) {
    fixture.ask_as(Some(OPERATOR), method, &format!("/v1/tenants/t{tenant}/{path}"), body).await
}

#[tokio::test]
async fn a_tenant_reads_the_log_once_at_a_time_until_the_answer_or_a_hang_up() {
    let (fixture, gate) = fixture();
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
    for (again, status) in SCANS.into_iter().zip([200, 200, 202]) {
        assert_eq!(scan(&fixture, 0, again).await.0, status);
    }
}

#[tokio::test]
async fn a_few_tenants_read_the_log_at_once_and_the_next_is_refused() {
    let (fixture, gate) = fixture();
    let mut scanning: Vec<_> = (0..4).map(|tenant| Box::pin(scan(&fixture, tenant, SCANS[0]))).collect();
    assert!(scanning.iter_mut().all(|scan| scan.now_or_never().is_none()));
    assert_eq!(scan(&fixture, 4, SCANS[0]).await.0, 429);
    gate.send_replace(true);
    for scan in scanning {
        assert_eq!(scan.await.0, 200);
    }
    assert_eq!(scan(&fixture, 4, SCANS[0]).await.0, 200);
    let told = Problem::from(NotStarted::Busy);
    assert!(told.code == Code::TooManyRequests && told.retry_after.is_some());
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
    let store = MemoryStore::new([Tenant::new("acme")]);
    let fixture = Fixture::over(Arc::new(reading_broker), memory, Arc::new(store));
    fixture.append(50).await;
    for record in fixture.broker.records(Log::Dead) {
        fixture.broker.publish(&Target::Log(Log::Parked, "panic.acme".into()), &record.message).await.unwrap();
    }
    for path in ["/v1/tenants/acme/dead-letters?limit=40", "/v1/parked?limit=40"] {
        let (status, page) = fixture.ask_as(Some(OPERATOR), "GET", path, "").await;
        assert_eq!((status, page["items"].as_array().map(Vec::len)), (200, Some(40)), "{path}");
        assert!(page["next"].is_string() && page["items"][0].get("body").is_none(), "{path}");
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{path}: {most:?}");
    }
}

#[tokio::test]
async fn a_page_after_the_first_reads_its_own_records() {
    let memory = Memory::calm(Arc::new(|| NOW));
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let reading_broker = ReadingBroker::new(&memory, move |records| {
        let read = counted.clone();
        records.inspect_ok(move |_| _ = read.fetch_add(1, Ordering::SeqCst)).boxed()
    });
    let store = MemoryStore::new([Tenant::new("acme")]);
    let fixture = Fixture::over(Arc::new(reading_broker), memory, Arc::new(store));
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
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    assert!(costs[0] >= 100 && costs[1..].iter().all(|cost| *cost <= 11), "{costs:?}");
}
