//! Looks through the whole log of dead letters: one at a time for a tenant, and a few for all.

use std::sync::Arc;

use broker::memory::Memory;
use futures_util::{FutureExt as _, StreamExt as _};
use schemas::Tenant;
use serde_json::Value;
use service::problem::{Code, Problem};
use store::MemoryStore;
use tokio::sync::watch;

use super::{
    house::{House, NOW, OPERATOR},
    through::Through,
};
use crate::NotStarted;

/// Every call that reads the whole log.
const LOOKS: [(&str, &str, &str); 3] =
    [("GET", "dead-letters", ""), ("POST", "replays", r#"{"dry_run":true}"#), ("POST", "replays", "{}")];

/// A control of some tenants whose logs cannot be read until the sender says true.
fn house() -> (House, watch::Sender<bool>) {
    let memory = Memory::calm(Arc::new(|| NOW));
    let gate = watch::Sender::new(false);
    let closed = gate.subscribe();
    let through = Through::new(&memory, move |records| {
        let mut gate = closed.clone();
        let opened = async move {
            gate.wait_for(|open| *open).await.unwrap();
            records
        };
        opened.flatten_stream().boxed()
    });
    let store = MemoryStore::new((0..9).map(|nth| Tenant::new(format!("t{nth}"))));
    (House::over(Arc::new(through), memory, Arc::new(store)), gate)
}

async fn look(house: &House, tenant: usize, (method, path, body): (&str, &str, &str)) -> (u16, Value) {
    house.ask_as(Some(OPERATOR), method, &format!("/v1/tenants/t{tenant}/{path}"), body).await
}

#[tokio::test]
async fn a_tenant_looks_once_at_a_time_by_whichever_call_until_it_has_its_answer_or_goes() {
    let (house, gate) = house();
    for first in LOOKS {
        let mut looking = Box::pin(look(&house, 0, first));
        assert!((&mut looking).now_or_never().is_none(), "{first:?} reads");
        for second in LOOKS {
            let (status, refused) = look(&house, 0, second).now_or_never().expect("it does not wait");
            assert_eq!((status, &refused["code"]), (429, &"too_many_requests".into()), "{second:?} beside {first:?}");
        }
        // Its drop is a caller who hung up.
    }
    let mut looking = Box::pin(look(&house, 0, LOOKS[0]));
    assert!((&mut looking).now_or_never().is_none());
    gate.send_replace(true);
    assert_eq!(looking.await.0, 200);
    for (again, status) in LOOKS.into_iter().zip([200, 200, 202]) {
        assert_eq!(look(&house, 0, again).await.0, status);
    }
}

#[tokio::test]
async fn a_few_tenants_look_at_once_and_the_next_is_told_to_come_again() {
    let (house, gate) = house();
    let mut looking: Vec<_> = (0..4).map(|tenant| Box::pin(look(&house, tenant, LOOKS[0]))).collect();
    assert!(looking.iter_mut().all(|look| look.now_or_never().is_none()));
    assert_eq!(look(&house, 4, LOOKS[0]).await.0, 429);
    gate.send_replace(true);
    for look in looking {
        assert_eq!(look.await.0, 200);
    }
    assert_eq!(look(&house, 4, LOOKS[0]).await.0, 200);
    let told = Problem::from(NotStarted::Busy);
    assert!(told.code == Code::TooManyRequests && told.retry_after.is_some());
}
