//! Which keys are accepted, and when the store is read again.

use super::*;
use crate::{MemoryStore, Pulled};

const OPERATOR: &str = "operator's";

fn snapshot(tenants: &[(&str, &str, &[Scope])]) -> Snapshot {
    let tenants = tenants.iter().map(|(id, key, scopes)| {
        let key = schemas::Key {
            id: "k".into(),
            name: None,
            scopes: scopes.to_vec(),
            hash: KeyHash::of(key),
            old_hash: None,
        };
        Arc::new(schemas::Tenant { keys: vec![key], ..schemas::Tenant::new(*id) }.into())
    });
    Snapshot::new(1, tenants)
}

fn decide(presented: Option<&str>, tenant: &str, scope: Scope) -> Result<Principal, Denied> {
    let snapshot = snapshot(&[("acme", "a", &[Scope::Publish]), ("zeta", "z", &[Scope::Publish, Scope::Manage])]);
    let operator = Some(KeyHash::of(OPERATOR));
    access(&snapshot, operator, presented, tenant, scope, 0).map(|access| access.principal)
}

#[test]
fn a_key_acts_for_its_own_tenant_within_its_scopes() {
    assert_eq!(decide(Some("a"), "acme", Scope::Publish).unwrap(), Principal::Key("k".into()));
    assert!(matches!(decide(Some("a"), "acme", Scope::Manage), Err(Denied::Scope(Scope::Manage))));
    let denied = decide(Some("z"), "zeta", Scope::Read).unwrap_err();
    assert_eq!(denied.to_string(), "the key lacks the scope `read`");
}

#[test]
fn a_key_that_was_rotated_acts_until_it_ends() {
    let until = schemas::time::Moment(1_000);
    let old_hash = Some(schemas::RetiringHash { hash: KeyHash::of("old"), until });
    let mut tenant = TenantSnapshot::clone(snapshot(&[("acme", "a", &[Scope::Publish])]).tenant("acme").unwrap());
    tenant.keys[0].old_hash = old_hash;
    let snapshot = Snapshot::new(1, [Arc::new(tenant)]);
    let decide = |now| access(&snapshot, None, Some("old"), "acme", Scope::Publish, now).map(|access| access.principal);
    assert_eq!(decide(999).unwrap(), Principal::Key("k".into()));
    assert!(matches!(decide(1_000), Err(Denied::Unauthenticated)));
}

#[test]
fn another_tenant_and_an_unknown_one_look_alike() {
    for tenant in ["zeta", "nobody"] {
        assert!(matches!(decide(Some("a"), tenant, Scope::Manage), Err(Denied::OtherTenant)));
    }
}

#[test]
fn the_operator_acts_for_every_tenant_that_there_is() {
    assert_eq!(decide(Some(OPERATOR), "zeta", Scope::Read).unwrap(), Principal::Operator);
    let denied = decide(Some(OPERATOR), "nobody", Scope::Read).unwrap_err();
    assert_eq!(denied.to_string(), "there is no tenant `nobody`");
}

#[test]
fn no_key_and_a_wrong_one_are_refused_and_without_an_operator_nobody_is_one() {
    for presented in [None, Some(""), Some("wrong")] {
        assert!(matches!(decide(presented, "acme", Scope::Publish), Err(Denied::Unauthenticated)));
    }
    let denied = access(&snapshot(&[]), None, Some(OPERATOR), "acme", Scope::Read, 0);
    assert!(matches!(denied, Err(Denied::Unauthenticated)));
}

/// A store that knows nothing until it is pulled.
fn store(pulled: Pulled) -> MemoryStore {
    let store = MemoryStore::default();
    store.when_pulled(move || pulled.clone());
    store
}

#[tokio::test]
async fn a_key_that_is_new_is_pulled_once_before_it_is_refused() {
    let store = store(Pulled::Snapshot(Arc::new(snapshot(&[("acme", "a", &[Scope::Publish])]))));
    let admitted = admit(&store, None, Some("a"), "acme", Scope::Publish, 0).await.unwrap();
    assert_eq!((admitted.tenant.id.as_str(), store.pulls()), ("acme", 1));

    let denied = admit(&store, None, Some("wrong"), "acme", Scope::Publish, 0).await;
    assert!(matches!(denied, Err(Denied::Unauthenticated)));
    assert_eq!(store.pulls(), 2);
}

#[tokio::test]
async fn a_key_is_not_refused_while_the_store_is_away() {
    let store = store(Pulled::Failure(StoreError("gone".into())));
    assert!(matches!(admit(&store, None, Some("a"), "acme", Scope::Read, 0).await, Err(Denied::Away(_))));
    assert!(matches!(admit(&store, None, None, "acme", Scope::Read, 0).await, Err(Denied::Unauthenticated)));
    assert_eq!(store.pulls(), 1, "no key, no pull");
}
