//! Changes over the API apply to the next event, on a standalone installation that is set up by its API alone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Process, Receiver, Site, eventually};

/// The fixture of a vendor's body.
fn vendor(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/vendor/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a fixture")).expect("JSON")
}

/// A standalone process that is set up by its API alone.
struct Fixture {
    receiver: Receiver,
    /// Key of the tenant's administrator.
    key: String,
    /// Path of the vendor's webhooks.
    source: String,
    standalone: Process,
    _site: Site,
}

const CHANNEL: &str = "/v1/tenants/acme/channels/4/webhook";

impl Fixture {
    async fn start() -> Self {
        let receiver = Receiver::accepting().await;
        let site = Site::from_nothing();
        let standalone = site.start("standalone").await;
        let api = standalone.api();
        api.put("/v1/tenants/acme", json!({"name": "Acme"})).await;
        let scopes = json!({"scopes": ["publish", "read", "manage"]});
        let made = api.done(KEY, Method::POST, "/v1/tenants/acme/keys", Some(scopes)).await;
        let key = made["key"].as_str().expect("shown this once").to_owned();
        let made = api.done(&key, Method::POST, "/v1/tenants/acme/sources", Some(json!({"dialect": "whazing"}))).await;
        let source = format!("/v1/in/{}", made["token"].as_str().expect("shown this once"));
        Self { receiver, key, source, standalone, _site: site }
    }

    fn api(&self) -> Api {
        self.standalone.api()
    }

    /// Sets the channel's webhook, with these boxes ticked.
    async fn tick(&self, events: &[&str]) {
        let webhook = json!({"enabled": true, "url": self.receiver.url("/channel"), "events": events});
        self.api().done(&self.key, Method::PUT, CHANNEL, Some(webhook)).await;
    }

    /// Sends a fixture as the vendor's platform.
    async fn sends(&self, name: &str) {
        let request = self.api().anonymous(Method::POST, &self.source).header("content-type", "application/json");
        let answer = request.body(vendor(name).to_string()).send().await.expect("it answers");
        assert_eq!(answer.status().as_u16(), 202, "{name}");
    }

    /// The bodies that arrived at a path so far.
    fn arrived(&self, path: &str) -> Vec<Value> {
        let bodies = |recorder: &crate::harness::Recorder| {
            recorder.requests(path).iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
        };
        self.receiver.look(bodies)
    }

    async fn until(&self, path: &str, count: usize) -> Vec<Value> {
        self.receiver.until("they arrive", |recorder| recorder.requests(path).len() >= count).await;
        self.arrived(path)
    }
}

fn has(bodies: &[Value], name: &str) -> bool {
    bodies.contains(&vendor(name))
}

#[tokio::test]
async fn an_installation_set_up_by_its_api_delivers_what_is_ticked_and_nothing_else() {
    let fixture = Fixture::start().await;
    fixture.tick(&["new_ticket", "received"]).await;
    let integration = json!({"name": "n8n", "url": fixture.receiver.url("/queue"), "n8n_api_key": "k"});
    let made = fixture.api().done(&fixture.key, Method::POST, "/v1/tenants/acme/integrations", Some(integration)).await;
    let binding = json!({"integration_id": made["id"], "start_on_transfer": true});
    fixture.api().done(&fixture.key, Method::PUT, "/v1/tenants/acme/queues/9/integration", Some(binding)).await;

    let unticked = ["whazing-channel-TransferTicket", "whazing-channel-ClosedTicket"];
    let ticked = [
        "whazing-channel-NewTicket",
        "whazing-channel-NewTicketUserCreate",
        "whazing-channel-message",
        "whazing-queue-message",
    ];
    for name in unticked.into_iter().chain(ticked) {
        fixture.sends(name).await;
    }
    let channel = fixture.until("/channel", ticked.len()).await;
    let queue = fixture.until("/queue", 1).await;
    assert!(ticked.into_iter().all(|name| has(&channel, name)), "{channel:?}");
    assert!(!unticked.into_iter().any(|name| has(&channel, name)), "{channel:?}");
    assert_eq!((channel.len(), queue.len()), (ticked.len(), 1));
    assert!(has(&queue, "whazing-queue-message"), "{queue:?}");
    let key = fixture.receiver.look(|recorder| recorder.requests("/queue")[0].header("x-n8n-api-key").to_owned());
    assert_eq!(key, "k");
}

#[tokio::test]
async fn an_unticked_box_applies_to_the_next_event() {
    let fixture = Fixture::start().await;
    fixture.tick(&["new_ticket", "received"]).await;
    fixture.sends("whazing-channel-message").await;
    fixture.until("/channel", 1).await;

    fixture.tick(&["new_ticket"]).await;
    fixture.sends("whazing-channel-message-group").await;
    fixture.sends("whazing-channel-NewTicket").await;
    let arrived = fixture.until("/channel", 2).await;
    assert!(has(&arrived, "whazing-channel-NewTicket") && arrived.len() == 2, "{arrived:?}");

    fixture.tick(&[]).await;
    fixture.sends("whazing-channel-NewTicket").await;
    fixture.tick(&["received"]).await;
    fixture.sends("whazing-queue-message").await;
    let arrived = fixture.until("/channel", 3).await;
    assert!(has(&arrived, "whazing-queue-message") && arrived.len() == 3, "{arrived:?}");
}

#[tokio::test]
async fn deliveries_that_wait_for_a_deleted_endpoint_become_visible_dead_letters() {
    let fixture = Fixture::start().await;
    let api = fixture.api();
    let endpoint = json!({"url": "http://127.0.0.1:9/nobody", "retry": {"schedule": ["2s"], "max_age": "1h"}});
    api.put("/v1/tenants/acme/endpoints/crm", endpoint).await;
    let wants = json!({"endpoint_id": "crm", "event_types": ["*"]});
    api.put("/v1/tenants/acme/subscriptions/all", wants).await;
    api.publish("acme", crate::harness::ids("waiting", 20)).await;
    // Events that are routed after the endpoint is deleted have no delivery.
    eventually("all wait for their retry", || async {
        let log = fixture.standalone.log();
        (log.iter().filter(|line| line["message"] == "delivery.attempted").count() == 20).then_some(())
    })
    .await;
    let gone = api.done(&fixture.key, Method::DELETE, "/v1/tenants/acme/endpoints/crm", None).await;
    assert!(gone.to_string().contains("endpoint_gone"), "it says what becomes of them: {gone}");
    let letters = dead_letters(&api, 20).await;
    assert!(letters.iter().all(|letter| letter["reason"] == "endpoint_gone"), "{letters:?}");
}

#[tokio::test]
async fn deliveries_that_wait_for_a_retry_can_be_cancelled_and_replayed() {
    let fixture = Fixture::start().await;
    let api = fixture.api();
    let endpoint =
        json!({"url": "http://127.0.0.1:9/nobody", "retry": {"schedule": ["3s", "3s", "3s"], "max_age": "1h"}});
    api.put("/v1/tenants/acme/endpoints/crm", endpoint).await;
    api.put("/v1/tenants/acme/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
    let accepted = api.publish("acme", crate::harness::ids("waiting", 20)).await;
    let waiting = "/v1/tenants/acme/endpoints/crm/waiting";
    eventually("they are counted", || async {
        let answer = api.done(&fixture.key, Method::GET, waiting, None).await;
        (answer["waiting"] == 20).then_some(())
    })
    .await;
    api.done(&fixture.key, Method::POST, "/v1/tenants/acme/endpoints/crm/cancel", None).await;
    let letters = dead_letters(&api, 20).await;
    assert!(letters.iter().all(|letter| letter["reason"] == "cancelled"), "{letters:?}");

    // The endpoint still exists: its cancelled deliveries can be replayed.
    let mended = json!({"url": fixture.receiver.url("/mended")});
    api.done(&fixture.key, Method::PATCH, "/v1/tenants/acme/endpoints/crm", Some(mended)).await;
    api.done(&fixture.key, Method::POST, "/v1/tenants/acme/replays", Some(json!({"filter": {}}))).await;
    fixture.receiver.until("they arrive", |recorder| recorder.has_all("/mended", &accepted)).await;
}

/// Waits until the tenant has so many dead letters.
async fn dead_letters(api: &Api, count: usize) -> Vec<Value> {
    eventually("they end", || async {
        let page = api.done(KEY, Method::GET, "/v1/tenants/acme/dead-letters", None).await;
        let items = page["items"].as_array().expect("a list").clone();
        (items.len() == count).then_some(items)
    })
    .await
}
