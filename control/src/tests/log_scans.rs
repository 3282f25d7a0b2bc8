//! Requests that read the whole log of dead letters: one at a time for a tenant, and a few for all.

use std::sync::Arc;

use broker::memory::Memory;
use futures_util::{FutureExt as _, StreamExt as _};
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
