//! Helpers of the scenarios: tenants, edits, and what a store shows.

use std::collections::BTreeMap;

use schemas::{Endpoint, Key, SourceConfig, Subscription, Tenant};
use serde_json::json;
use store::{Author, Draft, Edit, EditError, EditRefusal, Edited, Store, TenantSelection, TenantSnapshot};

/// Time of all edits: 2026-11-21.
pub(crate) const AT: u64 = 1_795_219_200_000;

/// Time at which retiring secrets of these tenants expire.
const TOMORROW: &str = "2026-11-22T00:00:00.000Z";

/// An edit by the operator.
pub(crate) fn edit(
    selection: &[&str],
    decision: impl FnOnce(&mut Draft) -> Result<(), EditRefusal> + Send + 'static,
) -> Edit {
    Edit {
        selection: TenantSelection::Tenants(selection.iter().map(|id| (*id).to_owned()).collect()),
        author: Author { name: "operator".to_owned(), address: Some([192, 0, 2, 7].into()) },
        at: AT,
        dry_run: false,
        decision: Box::new(decision),
    }
}

/// Makes a tenant, or puts it in the place of the one of its id.
pub(crate) async fn put(store: &dyn Store, tenant: Tenant) -> Result<Edited, EditError> {
    let id = tenant.id.clone();
    let decision = move |draft: &mut Draft| {
        draft.put(tenant);
        Ok(())
    };
    store.edit(edit(&[&id], decision)).await
}

pub(crate) async fn remove(store: &dyn Store, id: &'static str) -> Result<Edited, EditError> {
    let decision =
        move |draft: &mut Draft| draft.remove(id).map(drop).ok_or(EditRefusal::NoSuch(store::ItemKind::Tenant));
    store.edit(edit(&[id], decision)).await
}

/// A tenant with one of everything, and a secret wherever one can be.
pub(crate) fn tenant(id: &str) -> Tenant {
    Tenant {
        name: Some(format!("The tenant {id}")),
        endpoints: vec![endpoint("crm")],
        subscriptions: vec![subscription("all", "crm")],
        sources: vec![source("main", &format!("S3CRET-token-of-{id}"))],
        keys: vec![key("backend", &format!("key of {id}"))],
        ..Tenant::new(id)
    }
}

/// An endpoint with every secret there is.
pub(crate) fn endpoint(id: &str) -> Endpoint {
    let endpoint = json!({"id": id, "url": "https://crm.example/hooks", "n8n_api_key": "S3CRET-n8n",
        "secrets": ["whsec_UzNDUkVULXNpZ25pbmctc2VjcmV0LXRoYXQtaXMtbG9uZw==",
            {"secret": "whsec_UzNDUkVULW9sZGVyLXNlY3JldC10aGF0LXJldGlyZXM=", "until": TOMORROW}],
        "headers": {"x-shown": "shown", "x-hidden": {"secret": "S3CRET-header"}}});
    serde_json::from_value(endpoint).expect("an endpoint")
}

/// A subscription to everything.
pub(crate) fn subscription(id: &str, endpoint_id: &str) -> Subscription {
    let one = json!({"id": id, "endpoint_id": endpoint_id, "event_types": ["*"], "channel_ids": [7]});
    serde_json::from_value(one).expect("a subscription")
}

pub(crate) fn source(id: &str, token: &str) -> SourceConfig {
    let source = json!({"id": id, "dialect": "whazing", "token": token, "n8n_api_key": "S3CRET-expected",
        "old_token": {"secret": format!("S3CRET-old-{token}"), "until": TOMORROW}});
    serde_json::from_value(source).expect("a source")
}

pub(crate) fn key(id: &str, text: &str) -> Key {
    let [hash, old] = [text, &format!("old {text}")].map(|text| String::from(schemas::KeyHash::of(text)));
    let key = json!({"id": id, "scopes": ["read"], "hash": hash, "old_hash": {"hash": old, "until": TOMORROW}});
    serde_json::from_value(key).expect("a key")
}

/// Every secret text in a [`tenant`], as it is written where it is not hidden.
pub(crate) const SECRETS: [&str; 3] =
    ["S3CRET", "UzNDUkVULXNpZ25pbmctc2VjcmV0LXRoYXQtaXMtbG9uZw", "UzNDUkVULW9sZGVyLXNlY3JldC10aGF0LXJldGlyZXM"];

/// Everything a store shows, by tenant.
pub(crate) fn shown(store: &dyn Store) -> BTreeMap<String, TenantSnapshot> {
    let snapshot = store.snapshot().expect("a snapshot");
    snapshot.tenants().map(|tenant| (tenant.id.clone(), TenantSnapshot::clone(tenant))).collect()
}

/// At which revision it is.
pub(crate) fn revision(store: &dyn Store) -> u64 {
    let snapshot = store.snapshot().expect("a snapshot");
    assert_eq!(snapshot.revision(), *store.revision().borrow());
    snapshot.revision()
}
