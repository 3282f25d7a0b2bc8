//! A tenant or an endpoint that is made anew under the id of a deleted one has nothing of it.

use std::time::Duration;

use broker::{Broker as _, Lane, Log, Queue};
use schemas::Delivery;
use serde_json::{Value, json};
use store::{JobState, Store as _};

use super::{Api, ApiAnswer};
use crate::tests::fixture::{DeadDelivery, append};

const LETTERS: &str = "/v1/tenants/acme/dead-letters";
const REPLAYS: &str = "/v1/tenants/acme/replays";
const CRM: &str = "/v1/tenants/acme/endpoints/crm";
const SLOW: Queue = Queue::Lane(Lane::Slow);

async fn ask(api: &Api, method: &'static str, path: &str, body: Value) -> ApiAnswer {
    api.call(method, path).operator().json(body).send().await
}

async fn make_crm(api: &Api) {
    ask(api, "POST", "/v1/tenants/acme/endpoints", json!({"id": "crm", "url": "https://crm.example/"}))
        .await
        .expect(201);
}

/// An API with the endpoint crm of acme.
async fn with_crm() -> Api {
    let api = Api::new();
    make_crm(&api).await;
    api
}

/// Deletes acme, and makes it anew with the endpoint crm.
async fn make_acme_anew(api: &Api) {
    api.call("DELETE", "/v1/tenants/acme").operator().send().await.expect(200);
    ask(api, "POST", "/v1/tenants", json!({"id": "acme"})).await.expect(201);
    make_crm(api).await;
}

/// Ends a delivery of the event that was made at the present revision.
async fn die(api: &Api, event: &str) {
    let revision = api.store.snapshot().unwrap().revision();
    append(&api.broker, &DeadDelivery::default().event(event).revision(revision)).await;
}

async fn events(api: &Api) -> Vec<String> {
    let letters = api.call("GET", LETTERS).operator().send().await.expect(200).body;
    letters["items"].as_array().unwrap().iter().map(|one| one["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn replay(api: &Api, filter: Value) -> Value {
    let started = ask(api, "POST", REPLAYS, json!({"filter": filter})).await.expect(202).body;
    ended(api, &started).await
}

/// The replay once it has ended.
async fn ended(api: &Api, started: &Value) -> Value {
    let path = format!("{REPLAYS}/{}", started["id"].as_str().unwrap());
    let ended = async {
        loop {
            let replay = api.call("GET", &path).operator().send().await.expect(200).body;
            if replay["state"] != "running" {
                return replay;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), ended).await.expect("it ends")
}

#[tokio::test]
async fn keys_of_a_deleted_tenant_do_not_open_the_one_made_anew() {
    let api = with_crm().await;
    api.get("/v1/tenants/acme").await.expect(200);
    make_acme_anew(&api).await;
    for key in ["manager", "reader", "publisher"] {
        let refused = api.call("GET", "/v1/tenants/acme").key(key).send().await;
        assert_eq!(refused.code(), (401, "unauthorized"), "{key}");
    }
}

#[tokio::test]
async fn dead_letters_of_a_deleted_tenant_are_not_there_for_the_one_made_anew() {
    let api = with_crm().await;
    die(&api, "e0").await;
    die(&api, "e1").await;
    assert_eq!(events(&api).await, ["e1", "e0"]);
    make_acme_anew(&api).await;
    assert_eq!(events(&api).await, [""; 0], "also where a search was kept");
    api.call("GET", format!("{LETTERS}/0")).operator().send().await.expect(404);
    for filter in [json!({}), json!({"endpoint_id": "crm"}), json!({"ids": ["0", "1"], "endpoint_id": "crm"})] {
        let counted = ask(&api, "POST", REPLAYS, json!({"filter": &filter, "dry_run": true})).await.expect(200);
        assert_eq!(counted.body["matched"], 0, "{filter}");
        assert_eq!(replay(&api, filter).await["replayed"], 0);
    }
    let enabled = api.call("POST", format!("{CRM}/enable")).operator().send().await.expect(200);
    assert_eq!(enabled.body["replayable"]["dead_letters"], 0);

    die(&api, "e0").await;
    append(&api.broker, &DeadDelivery::default().event("e0").revision(1)).await;
    assert_eq!(events(&api).await, ["e0"], "one that ends late does not replace that of the same event id");
    api.call("GET", format!("{LETTERS}/2")).operator().send().await.expect(200);
    assert_eq!(replay(&api, json!({})).await["replayed"], 1);
    assert_eq!(api.broker.depth(SLOW), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_go_on_for_a_tenant_made_anew() {
    let api = with_crm().await;
    for nth in 0..100 {
        die(&api, &format!("e{nth}")).await;
    }
    let body = json!({"filter": {"endpoint_id": "crm"}, "rate_per_second": 10});
    let started = ask(&api, "POST", REPLAYS, body).await.expect(202).body;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    make_acme_anew(&api).await;
    let id = started["id"].as_str().unwrap();
    let job = loop {
        let job = api.store.control_state().unwrap().job(id).await.unwrap().unwrap();
        if job.state != JobState::Running {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((job.state, job.done), (JobState::Stopped, 11));
    assert_eq!((api.broker.depth(SLOW), api.broker.records(Log::Dead).len()), (11, 111));
    api.call("GET", format!("{REPLAYS}/{id}")).operator().send().await.expect(404);
    let listed = api.call("GET", REPLAYS).operator().send().await.expect(200).body;
    assert_eq!(listed["items"], json!([]), "the tenant made anew has none");
}

#[tokio::test]
async fn dead_letters_of_a_deleted_endpoint_go_to_the_one_made_anew_only_if_it_is_named() {
    let api = with_crm().await;
    die(&api, "e0").await;
    api.call("DELETE", CRM).operator().send().await.expect(200);
    make_crm(&api).await;
    die(&api, "e1").await;
    assert_eq!(events(&api).await, ["e1", "e0"], "they are the tenant's own");
    let result = |replay: Value| (replay["matched"].clone(), replay["replayed"].clone(), replay["skipped"].clone());
    assert_eq!(result(replay(&api, json!({})).await), (json!(2), json!(1), json!(1)));
    assert_eq!(result(replay(&api, json!({"ids": ["0"]})).await), (json!(1), json!(0), json!(1)));
    assert_eq!(api.broker.depth(SLOW), 1);
    assert_eq!(result(replay(&api, json!({"endpoint_id": "crm"})).await), (json!(1), json!(1), json!(0)));
    assert_eq!(events(&api).await, [""; 0]);

    let mut slow = api.broker.consume(SLOW, 2.into());
    let created = api.tenant("acme").endpoint_created("crm");
    for event in ["e1", "e0"] {
        let delivery = Delivery::from_message(&slow.next().await.unwrap().message).unwrap();
        assert_eq!(
            (delivery.event_id.as_str(), delivery.revision),
            (event, created),
            "no deliverer takes it as too old"
        );
    }
}

#[tokio::test]
async fn the_audit_log_of_a_tenant_begins_with_its_creation() {
    let api = with_crm().await;
    let items = async |path: &str| {
        let page = api.call("GET", path).operator().send().await.expect(200).body;
        let items = page["items"].as_array().unwrap().iter().map(|one| one["item"].as_str().unwrap().to_owned());
        (items.collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(items("/v1/tenants/acme/audit").await.0, ["crm"]);
    make_acme_anew(&api).await;
    let both = ["crm".to_owned(), "acme".to_owned()];
    assert_eq!(items("/v1/tenants/acme/audit").await, (both.to_vec(), Value::Null));
    assert_eq!(items("/v1/tenants/acme/audit?limit=2").await, (both.to_vec(), Value::Null), "nothing follows");
    assert!(items("/v1/audit").await.0.len() > 2, "the operator sees all");
}
