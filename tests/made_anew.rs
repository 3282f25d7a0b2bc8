//! A tenant or an endpoint that is made anew under the id of a deleted one gets nothing that was meant for that one.

use std::collections::BTreeSet;

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Api, KEY, Process, Receiver, Site, eventually, ids},
    quotas::dead_letters,
};

const TENANT: &str = "/v1/tenants/acme";
const CRM: &str = "/v1/tenants/acme/endpoints/crm";
const LETTERS: &str = "/v1/tenants/acme/dead-letters";
/// Deliveries that wait while their endpoint is made anew.
const WAITING: usize = 10;

/// A standalone process on the store that its API changes. Deliveries of acme wait for a retry to `/old`.
struct Fixture {
    receiver: Receiver,
    site: Site,
    standalone: Process,
    waiting: BTreeSet<String>,
    /// A key of acme.
    key: String,
}

async fn on_rabbitmq() -> Site {
    let site = Site::on_rabbitmq("tenants: []").await;
    let store = format!("sqlite:{}", site.path("store.db").display());
    site.set("store.url", &store)
}

impl Fixture {
    async fn start(site: Site) -> Self {
        let receiver =
            Receiver::start(|received| Answer::status(if received.path == "/new" { 200 } else { 503 })).await;
        let standalone = site.start("standalone").await;
        let api = standalone.api();
        api.put(TENANT, json!({})).await;
        let scopes = json!({"scopes": ["read", "manage"]});
        let made = api.done(KEY, Method::POST, &format!("{TENANT}/keys"), Some(scopes)).await;
        let key = made["key"].as_str().expect("shown this once").to_owned();
        put_crm(&api, &receiver.url("/old")).await;
        let waiting = api.publish("acme", ids("early", WAITING)).await;
        eventually("all wait for their retry", || async {
            let attempted = standalone.log().iter().filter(|line| line["message"] == "delivery.attempted").count();
            (attempted >= WAITING).then_some(())
        })
        .await;
        Self { receiver, site, standalone, waiting, key }
    }

    fn api(&self) -> Api {
        self.standalone.api()
    }

    /// Waits until what waited has ended, and shows that deliveries to the endpoint that is there now arrive.
    async fn ends(&self) {
        let letters = dead_letters(&self.site, WAITING).await;
        assert!(letters.iter().all(|letter| letter["reason"] == "endpoint_gone"), "{letters:?}");
        let ended: BTreeSet<_> =
            letters.iter().map(|letter| letter["event_id"].as_str().expect("text").to_owned()).collect();
        assert_eq!(ended, self.waiting);
        let later = self.api().publish("acme", ids("later", 3)).await;
        self.receiver.until("later ones arrive", |recorder| recorder.has_all("/new", &later)).await;
        assert_eq!(self.posted_to_new(), later.len());
    }

    fn posted_to_new(&self) -> usize {
        self.receiver.look(|recorder| recorder.requests("/new").len())
    }

    async fn letters(&self) -> Vec<Value> {
        let page = self.api().done(KEY, Method::GET, LETTERS, None).await;
        page["items"].as_array().expect("a list").clone()
    }

    /// Replays what the filter selects. Returns how many matched, were replayed, and were skipped.
    async fn replay(&self, filter: Value) -> [u64; 3] {
        let path = format!("{TENANT}/replays");
        let started = self.api().done(KEY, Method::POST, &path, Some(json!({"filter": filter}))).await;
        let path = format!("{path}/{}", started["id"].as_str().expect("an id"));
        let ended = eventually("the replay ends", || async {
            let replay = self.api().done(KEY, Method::GET, &path, None).await;
            (replay["state"] == "done").then_some(replay)
        });
        let ended = ended.await;
        ["matched", "replayed", "skipped"].map(|name| ended[name].as_u64().expect("a number"))
    }
}

/// Makes the endpoint crm of acme, which gets every event, or changes where it is.
async fn put_crm(api: &Api, url: &str) {
    api.put(
        CRM,
        json!({"url": url, "retry": {"schedule": ["4s", "4s", "4s", "4s", "4s", "4s", "4s", "4s"], "max_age": "1h"}}),
    )
    .await;
    api.put(&format!("{TENANT}/subscriptions/all"), json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
}

async fn a_tenant_made_anew(site: Site) {
    let fixture = Fixture::start(site).await;
    let api = fixture.api();
    api.done(&fixture.key, Method::GET, TENANT, None).await;
    api.done(KEY, Method::DELETE, TENANT, None).await;
    api.put(TENANT, json!({})).await;
    put_crm(&api, &fixture.receiver.url("/new")).await;
    assert_eq!(api.ask(&fixture.key, Method::GET, TENANT, None).await.0, 401);
    fixture.ends().await;

    assert_eq!(fixture.letters().await, [Value::Null; 0]);
    let former = dead_letters(&fixture.site, WAITING).await;
    let path = format!("{LETTERS}/{}", former[0]["id"].as_str().expect("an id"));
    assert_eq!(api.ask(KEY, Method::GET, &path, None).await.0, 404);
    assert_eq!(fixture.replay(json!({"endpoint_id": "crm"})).await, [0, 0, 0]);
    assert_eq!(fixture.posted_to_new(), 3);
}

async fn an_endpoint_made_anew(site: Site) {
    let fixture = Fixture::start(site).await;
    let api = fixture.api();
    api.done(KEY, Method::DELETE, CRM, None).await;
    put_crm(&api, &fixture.receiver.url("/new")).await;
    fixture.ends().await;

    assert_eq!(fixture.letters().await.len(), WAITING, "they are the tenant's own");
    let all = WAITING as u64;
    assert_eq!(fixture.replay(json!({})).await, [all, 0, all]);
    assert_eq!(fixture.posted_to_new(), 3);
    assert_eq!(fixture.replay(json!({"endpoint_id": "crm"})).await, [all, all, 0], "it is named");
    fixture.receiver.until("they arrive", |recorder| recorder.has_all("/new", &fixture.waiting)).await;
}

#[tokio::test]
async fn a_tenant_made_anew_gets_nothing_of_the_deleted_one_of_its_id() {
    a_tenant_made_anew(Site::from_nothing()).await;
}

#[tokio::test]
async fn a_tenant_made_anew_gets_nothing_of_the_deleted_one_of_its_id_on_rabbitmq() {
    a_tenant_made_anew(on_rabbitmq().await).await;
}

#[tokio::test]
async fn an_endpoint_made_anew_gets_what_the_deleted_one_missed_only_by_a_replay_that_names_it() {
    an_endpoint_made_anew(Site::from_nothing()).await;
}

#[tokio::test]
async fn an_endpoint_made_anew_gets_what_the_deleted_one_missed_only_by_a_replay_that_names_it_on_rabbitmq() {
    an_endpoint_made_anew(on_rabbitmq().await).await;
}
