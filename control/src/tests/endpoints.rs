//! Switching endpoints off and on, and cancelling what waits for them.

use std::sync::Arc;

use broker::{Inlet, memory::Memory};
use schemas::{Endpoint, EndpointState, Tenant, time::Moment};
use serde_json::json;
use store::{Author, EditError, Kind, MemoryStore, Refused, Store};

use super::house::{House, NOW};

fn house() -> (House, Arc<MemoryStore>) {
    let acme = json!({"id": "acme", "endpoints": [{"id": "crm", "url": "https://crm.example/"}]});
    let store = Arc::new(MemoryStore::new([serde_json::from_value::<Tenant>(acme).unwrap()]));
    (House::with(Memory::calm(Arc::new(|| NOW)), store.clone()), store)
}

fn crm(store: &MemoryStore) -> Arc<Endpoint> {
    store.snapshot().unwrap().endpoint("acme", "crm").unwrap().clone()
}

fn operator() -> Author {
    Author { name: "operator".into(), address: None }
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_is_told_once_and_can_be_switched_on_again() {
    let (house, store) = house();
    for _ in 0..2 {
        let reason = Some("moving house".to_owned());
        house.control.disable_endpoint("acme", "crm", reason, operator()).await.unwrap();
    }
    assert_eq!(
        (crm(&store).state, crm(&store).disabled_reason.as_deref()),
        (EndpointState::Disabled, Some("moving house"))
    );
    house.control.enable_endpoint("acme", "crm", operator()).await.unwrap();
    assert_eq!((crm(&store).state, crm(&store).disabled_reason.clone()), (EndpointState::Active, None));
    house.control.drain().await;
    assert_eq!(house.broker.depth(Inlet::Ingest), 1);
}

#[tokio::test]
async fn a_cancel_is_of_now() {
    let (house, store) = house();
    house.control.cancel_waiting("acme", "crm", operator()).await.unwrap();
    assert_eq!(crm(&store).cancelled_before, Some(Moment(NOW)));
    assert!(crm(&store).has_cancelled(NOW) && !crm(&store).has_cancelled(NOW + 1));
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_changed_is_said() {
    let (house, store) = house();
    let refused = house.control.cancel_waiting("acme", "bi", operator()).await.unwrap_err();
    assert!(matches!(refused, EditError::Refused(Refused::NoSuch(Kind::Endpoint))), "{refused:?}");
    let refused = house.control.enable_endpoint("zeta", "crm", operator()).await.unwrap_err();
    assert!(matches!(refused, EditError::Refused(Refused::NoSuch(Kind::Tenant))), "{refused:?}");
    store.set_away(true);
    let away = house.control.cancel_waiting("acme", "crm", operator()).await.unwrap_err();
    assert!(matches!(away, EditError::Away(_)), "{away:?}");
}
