//! Decisions on drafts.

use schemas::{Endpoint, Tenant};
use serde_json::json;

use super::*;

fn endpoint(id: &str, url: &str) -> Endpoint {
    serde_json::from_value(json!({"id": id, "url": url, "n8n_api_key": "S3CRET"})).expect("an endpoint")
}

fn acme() -> Tenant {
    Tenant { endpoints: vec![endpoint("crm", "https://crm.example/")], ..Tenant::new("acme") }
}

fn draft() -> Draft {
    Draft::new([(acme(), Versions::default())])
}

fn changes(
    decision: impl FnOnce(&mut Draft) -> Result<(), EditRefusal> + Send + 'static,
) -> Result<Vec<ItemChange>, EditRefusal> {
    decide(draft(), 0, Box::new(decision))
}

#[test]
fn differences_are_listed_item_by_item() {
    let made = changes(|draft| {
        draft.tenant("acme")?.endpoints.push(endpoint("bi", "https://bi.example/"));
        draft.put(Tenant::new("beta"));
        Ok(())
    });
    let made: Vec<_> = made.unwrap().into_iter().map(|change| (change.tenant, change.kind, change.id)).collect();
    let expected = [("acme", ItemKind::Endpoint, "bi"), ("beta", ItemKind::Tenant, "beta")];
    assert_eq!(made, expected.map(|(tenant, kind, id)| (tenant.to_owned(), kind, id.to_owned())));
    assert_eq!(changes(|_| Ok(())), Ok(vec![]));
}

#[test]
fn a_deleted_tenant_takes_everything_along() {
    let gone = changes(|draft| {
        draft.remove("acme");
        Ok(())
    });
    let gone = gone.unwrap();
    assert_eq!(gone.iter().map(|change| change.kind).collect::<Vec<_>>(), [ItemKind::Tenant, ItemKind::Endpoint]);
    assert!(gone.iter().all(|change| change.before.is_some() && change.after.is_none()));
}

#[test]
fn a_changed_secret_is_a_change_and_is_shown_masked() {
    let changed = changes(|draft| {
        draft.tenant("acme")?.endpoints[0].n8n_api_key = Some("S3CRET2".to_owned().into());
        Ok(())
    });
    let changed = changed.unwrap();
    let [ItemChange { before: Some(before), after: Some(after), .. }] = changed.as_slice() else {
        panic!("{changed:?}")
    };
    assert_eq!(before.shown(), after.shown());
    assert!(!format!("{changed:?}{}", after.shown()).contains("S3CRET"));
}

#[test]
fn a_result_that_is_not_valid_is_refused_with_its_places() {
    let refused = changes(|draft| {
        draft.tenant("acme")?.endpoints[0].url = "ftp://crm.example/".to_owned();
        Ok(())
    });
    let Err(EditRefusal::Invalid(problems)) = refused else { panic!("{refused:?}") };
    assert_eq!(problems[0].path.to_string(), "tenants[0].endpoints[0].url");
    assert_eq!(changes(|draft| draft.tenant("beta").map(|_| ())), Err(EditRefusal::NoSuch(ItemKind::Tenant)));
}
