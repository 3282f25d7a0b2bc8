//! The vendors' screens.

use schemas::{Acceptance, Envelope, EventFacts};
use serde_json::{Value, json};

use super::Api;

const WEBHOOK: &str = "/v1/tenants/acme/channels/7/webhook";
const BOT: &str = "/v1/tenants/acme/integrations/bot";
const QUEUE: &str = "/v1/tenants/acme/queues/12/integration";

/// A body for any of the views that own an endpoint.
fn n8n() -> Value {
    json!({"url": "https://n8n.example/"})
}

/// An API whose store has a channel, an integration and a queue's binding under ids that an earlier version gave.
fn with_earlier_ids() -> Api {
    let mut acme = json!({"id": "acme", "keys": [super::key("manager", &["manage", "read"])]});
    acme["endpoints"] = json!([
        {"id": "channel-a/b%2Ec", "url": "https://n8n.example/"},
        {"id": "integration-ação", "url": "https://n8n.example/"},
    ]);
    acme["subscriptions"] = json!([
        {"id": "channel-a/b%2Ec", "endpoint_id": "channel-a/b%2Ec", "channel_ids": ["a/b.c"], "event_types": ["message.sent"]},
        {"id": "queue-1@x%20y", "endpoint_id": "integration-ação", "queue_ids": ["1@x y"], "event_types": ["message.sent"]},
    ]);
    Api::with(json!([acme]))
}

/// The endpoints that want an event, and whether as a shot.
#[expect(clippy::needless_pass_by_value, reason = "what is described is given away: the calls read like tables")]
fn wanted(api: &Api, event: Value) -> Vec<(String, bool)> {
    let text = event.to_string();
    let id = "e1".to_owned().try_into().unwrap();
    let acceptance = Acceptance::new(id, 1, "acme");
    let envelope = Envelope::decode(text.as_bytes(), &acceptance).unwrap();
    let tenant = api.tenant("acme");
    let enabled = tenant.subscriptions.iter().filter(|one| one.enabled);
    enabled
        .filter_map(|one| Some((one.endpoint_id.clone(), one.accepts(&EventFacts::of(&envelope.event)).ok()?.shot)))
        .collect()
}

fn event(kind: &str) -> Value {
    json!({"type": kind, "channel": {"id": 7}, "ticket": {"id": 1, "status": "open", "queue": {"id": 12}}})
}

#[tokio::test]
async fn ticked_boxes_are_what_a_channel_sends_and_no_box_sends_nothing() {
    let api = Api::new();
    let set =
        |events: Value| api.put(WEBHOOK, json!({"enabled": true, "url": "https://n8n.example/", "events": events}));
    set(json!([])).await.expect(201);
    let types =
        ["ticket.created", "ticket.transferred", "ticket.closed", "message.received", "message.sent", "ticket.opened"];
    assert!(types.iter().all(|kind| wanted(&api, event(kind)).is_empty()));
    for (ticked, sent) in [
        ("new_ticket", "ticket.created"),
        ("transferred", "ticket.transferred"),
        ("closed", "ticket.closed"),
        ("received", "message.received"),
        ("sent", "message.sent"),
    ] {
        set(json!([ticked])).await.expect(200);
        for kind in types {
            assert_eq!(wanted(&api, event(kind)).len(), usize::from(kind == sent), "{ticked}: {kind}");
        }
    }
    let other = json!({"type": "message.sent", "channel": {"id": 8}});
    assert!(wanted(&api, other).is_empty(), "another channel's");
}

#[tokio::test]
async fn a_channels_webhook_is_shown_as_it_was_set() {
    let api = Api::new();
    let body = json!({"enabled": false, "url": "https://n8n.example/webhook", "events": ["sent", "new_ticket"],
        "n8n_api_key": "S3CRET", "groups": false, "ticket_statuses": ["open"]});
    let made = api.put(WEBHOOK, body.clone()).await.expect(201);
    assert_eq!(made.headers["location"], WEBHOOK);
    let shown = api.get(WEBHOOK).await.expect(200);
    let mut expected = made.body.clone();
    expected.as_object_mut().unwrap().remove("secret");
    expected["health"] = json!({"state": "unknown"});
    assert_eq!(shown.body, expected);
    assert_eq!((&shown.body["channel_id"], &shown.body["format"]), (&json!("7"), &json!("whazing")));
    assert_eq!((&shown.body["events"], &shown.body["n8n_api_key"]), (&json!(["new_ticket", "sent"]), &json!("***")));
    let again = api.put(WEBHOOK, body).await.expect(200);
    assert_eq!(again.etag(), made.etag());
    let patched = api.patch(WEBHOOK, json!({"enabled": true})).await.expect(200);
    assert_eq!((&patched.body["enabled"], &patched.body["events"]), (&json!(true), &json!(["new_ticket", "sent"])));
    let endpoint = api.tenant("acme").endpoints["channel-7"].clone();
    assert_eq!(endpoint.n8n_api_key.as_ref().unwrap().reveal(), "S3CRET", "left out, it is kept");
    let listed = api.get("/v1/tenants/acme/channels").await.expect(200).body;
    let mut expected = patched.body;
    expected["health"] = json!({"state": "unknown"});
    assert_eq!(listed["items"], json!([expected]));
    let gone = api.delete(WEBHOOK).await.expect(200).body;
    assert_eq!((gone["deleted"].as_array().unwrap().len(), &gone["queued"]), (2, &json!("endpoint_gone")));
    api.get(WEBHOOK).await.expect(404);
}

#[tokio::test]
async fn ids_of_channels_may_be_anything_that_a_platform_calls_them() {
    let api = Api::new();
    let path = "/v1/tenants/acme/channels/5511.99%2B1%20%2A/webhook";
    let made = api.put(path, json!({"url": "https://n8n.example/", "events": ["sent"]})).await.expect(201);
    assert_eq!(made.body["channel_id"], "5511.99+1 *");
    assert_eq!(made.body["endpoint_id"], "channel-5511.99%2B1%20%2A");
    assert!(api.tenant("acme").endpoints.contains_key("channel-5511.99%2B1%20%2A"));
    let other = json!({"type": "message.sent", "channel": {"id": "5511.99+1 *"}});
    assert_eq!(wanted(&api, other).len(), 1);
    assert_eq!(api.get("/v1/tenants/acme/channels").await.body["items"][0]["channel_id"], "5511.99+1 *");
}

#[tokio::test]
async fn a_queue_starts_its_integration_on_a_transfer_or_with_the_next_message() {
    let api = Api::new();
    api.put(BOT, json!({"name": "Bot", "url": "https://n8n.example/"})).await.expect(201);
    let queue = "/v1/tenants/acme/queues/12/integration";
    let bound = api.put(queue, json!({"integration_id": "bot"})).await.expect(201);
    assert_eq!(bound.body["start_on_transfer"], false);
    let transfer = json!({"type": "ticket.transferred", "channel": {"id": 7},
        "ticket": {"id": 1, "status": "open", "queue": {"id": 12}},
        "change": {"kind": "queue", "from": {"id": 3}, "to": {"id": 12}},
        "message": {"direction": "inbound", "text": "Hi"}});
    assert_eq!(wanted(&api, transfer.clone()), []);
    let bot = || "integration-bot".to_owned();
    assert_eq!(wanted(&api, event("message.received")), [(bot(), false)]);
    assert_eq!(wanted(&api, event("message.sent")), [(bot(), false)]);
    assert_eq!(wanted(&api, event("ticket.created")), []);
    api.patch(queue, json!({"start_on_transfer": true})).await.expect(200);
    assert_eq!(wanted(&api, transfer), [(bot(), true)]);
    api.delete(queue).await.expect(200);
    assert_eq!(wanted(&api, event("message.received")), []);
    api.get(queue).await.expect(404);
}

#[tokio::test]
async fn an_integration_may_have_many_queues_and_goes_only_without_them() {
    let api = Api::new();
    let made = api
        .post("/v1/tenants/acme/integrations", json!({"name": "Bot", "url": "https://n8n.example/"}))
        .await
        .expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("int_") && id.len() == 12, "{id}");
    assert_eq!(made.headers["location"].to_str().unwrap(), format!("/v1/tenants/acme/integrations/{id}"));
    for queue in ["12", "13"] {
        let path = format!("/v1/tenants/acme/queues/{queue}/integration");
        api.put(&path, json!({"integration_id": id})).await.expect(201);
    }
    let path = format!("/v1/tenants/acme/integrations/{id}");
    let refused = api.delete(&path).await;
    assert_eq!(refused.code(), (409, "conflict"));
    assert_eq!(refused.body["detail"], "queues are bound to it: 12, 13");
    let unknown = api.put("/v1/tenants/acme/queues/14/integration", json!({"integration_id": "nobody"})).await;
    assert_eq!(unknown.pointers(), ["/integration_id"]);
    for queue in ["12", "13"] {
        api.delete(&format!("/v1/tenants/acme/queues/{queue}/integration")).await.expect(200);
    }
    api.delete(&path).await.expect(200);
    assert_eq!(api.get("/v1/tenants/acme/integrations").await.body, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn a_new_integration_is_found_where_its_answer_says_whatever_it_is_called() {
    let api = Api::new();
    for id in ["bot-1", "a/b?c", "ação #1", "50%"] {
        let body = json!({"id": id, "url": "https://n8n.example/"});
        let made = api.post("/v1/tenants/acme/integrations", body).await.expect(201);
        let location = made.headers["location"].to_str().expect("visible ASCII").to_owned();
        assert_eq!(api.get(&location).await.expect(200).body["id"], id);
    }
}

#[tokio::test]
async fn the_generic_calls_show_what_views_own_and_refuse_to_change_it() {
    let api = Api::new();
    api.put(WEBHOOK, json!({"url": "https://n8n.example/", "events": []})).await.expect(201);
    for list in ["endpoints", "subscriptions"] {
        let path = format!("/v1/tenants/acme/{list}/channel-7");
        api.get(&path).await.expect(200);
        for method in ["PUT", "PATCH", "DELETE"] {
            let refused = api.call(method, &path).json(json!({"name": "x"})).send().await;
            assert_eq!(refused.code(), (409, "conflict"), "{method} {list}");
            assert!(refused.body["detail"].as_str().unwrap().contains("/channels/{channel_id}/webhook"));
        }
        let new =
            api.post(&format!("/v1/tenants/acme/{list}"), json!({"id": "queue-9", "url": "https://x.example/"})).await;
        assert!(new.body["detail"].as_str().unwrap().contains("/queues/{queue_id}/integration"), "{}", new.body);
    }
    api.call("POST", "/v1/tenants/acme/endpoints/channel-7/disable").send().await.expect(200);
}

#[tokio::test]
async fn a_screen_shows_that_nothing_is_posted_any_more_and_why_and_does_not_change_it() {
    let api = Api::new();
    for (screen, endpoint) in [(WEBHOOK, "channel-7"), (BOT, "integration-bot")] {
        let made = api.put(screen, json!({"url": "https://n8n.example/", "secrets": []})).await.expect(201).body;
        assert_eq!((&made["state"], made.get("disabled_reason")), (&json!("active"), None));
        gone(&api, endpoint).await;
        let shown = api.get(screen).await.expect(200).body;
        assert_eq!((&shown["state"], &shown["disabled_reason"]), (&json!("disabled"), &json!(crate::GONE)));
        let list = screen.strip_suffix("/7/webhook").or(screen.strip_suffix("/bot")).unwrap();
        assert_eq!(api.get(list).await.expect(200).body["items"], json!([shown]));
        let mut body = shown.clone();
        (body["state"], body["disabled_reason"]) = (json!("active"), json!(7));
        let mut written = api.put(screen, body.clone()).await.expect(200).body;
        // What a deliverer observes is no part of the answer to a write.
        written["health"] = shown["health"].clone();
        assert_eq!(written, shown, "what was shown may be sent back");
        body["n8n_api_key"] = json!("its key");
        assert_eq!(api.patch(screen, body).await.expect(200).body["state"], "disabled");
        api.call("POST", format!("/v1/tenants/acme/endpoints/{endpoint}/enable")).send().await.expect(200);
        assert_eq!(api.get(screen).await.expect(200).body["state"], "active");
    }
}

/// The receiver has answered 410.
async fn gone(api: &Api, endpoint: &'static str) {
    crate::tests::fixture::edit(&*api.store, "deliverer", super::NOW, move |draft| {
        let endpoints = &mut draft.tenant("acme")?.endpoints;
        let endpoint = endpoints.iter_mut().find(|one| one.id == endpoint).unwrap();
        endpoint.state = schemas::EndpointState::Disabled;
        endpoint.disabled_reason = Some(crate::GONE.to_owned());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn mistakes_on_the_screens_have_their_places() {
    let api = Api::new();
    for (body, pointer) in [
        (json!({"events": []}), "/url"),
        (json!({"url": "http://127.0.0.1/"}), "/url"),
        (json!({"url": "https://n8n.example/", "events": ["opened"]}), "/events/0"),
        (json!({"url": "https://n8n.example/", "event": []}), "/event"),
        (json!({"url": "https://n8n.example/", "n8n_api_key": "***"}), "/n8n_api_key"),
        (json!({"url": "https://n8n.example/", "channel_id": 8}), "/channel_id"),
    ] {
        let refused = api.put(WEBHOOK, body.clone()).await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec![pointer]), "{body}");
    }
    api.put(WEBHOOK, json!({"url": "https://n8n.example/", "channel_id": 7})).await.expect(201);
}

#[tokio::test]
async fn a_view_says_which_items_are_its_own_and_passes_them_over_in_a_body() {
    let api = Api::new();
    let channel = api.put("/v1/tenants/acme/channels/Canal%20Vendas/webhook", n8n()).await.expect(201).body;
    let id = json!("channel-Canal%20Vendas");
    assert_eq!((&channel["endpoint_id"], &channel["subscription_id"]), (&id, &id));
    api.get("/v1/tenants/acme/endpoints/channel-Canal%2520Vendas").await.expect(200);
    let bot = api.put(BOT, n8n()).await.expect(201).body;
    assert_eq!(bot["endpoint_id"], "integration-bot");
    let mut binding = api.put(QUEUE, json!({"integration_id": "bot"})).await.expect(201).body;
    assert_eq!((&binding["endpoint_id"], &binding["subscription_id"]), (&bot["endpoint_id"], &json!("queue-12")));
    binding["endpoint_id"] = json!("crm");
    let same = api.put(QUEUE, binding).await.expect(200);
    assert_eq!(
        (&same.body["endpoint_id"], &same.headers["carteiro-changed"]),
        (&bot["endpoint_id"], &"false".parse().unwrap())
    );
}

#[tokio::test]
async fn a_view_of_an_earlier_version_keeps_its_items_under_their_ids() {
    let api = with_earlier_ids();
    let channel = "/v1/tenants/acme/channels/a%2Fb.c/webhook";
    let shown = api.get(channel).await.expect(200).body;
    assert_eq!((&shown["channel_id"], &shown["endpoint_id"]), (&json!("a/b.c"), &json!("channel-a/b%2Ec")));
    let changed = api.put(channel, json!({"url": "https://new.example/", "events": ["sent"]})).await.expect(200).body;
    assert_eq!((&changed["endpoint_id"], &changed["url"]), (&json!("channel-a/b%2Ec"), &json!("https://new.example/")));
    api.call("POST", format!("{channel}/disable")).send().await.expect(200);
    let queue = "/v1/tenants/acme/queues/1%40x%20y/integration";
    let binding = api.patch(queue, json!({"start_on_transfer": true})).await.expect(200).body;
    assert_eq!((&binding["integration_id"], &binding["subscription_id"]), (&json!("ação"), &json!("queue-1@x%20y")));
    api.put("/v1/tenants/acme/queues/2/integration", json!({"integration_id": "ação"})).await.expect(201);
    assert_eq!((api.tenant("acme").endpoints.len(), api.tenant("acme").subscriptions.len()), (2, 3));
    api.delete(channel).await.expect(200);
    api.get(channel).await.expect(404);
}

#[tokio::test]
async fn an_id_that_is_blank_or_too_long_is_refused_and_says_why() {
    let api = Api::new();
    api.put(BOT, n8n()).await.expect(201);
    let long = "x".repeat(256);
    for (id, why) in [("%20", "is blank"), ("%C2%A0", "is blank"), (&*long, "is too long")] {
        for (path, body, pointer) in [
            (format!("/v1/tenants/acme/channels/{id}/webhook"), n8n(), "/channel_id"),
            (format!("/v1/tenants/acme/integrations/{id}"), n8n(), "/id"),
            (format!("/v1/tenants/acme/queues/{id}/integration"), json!({"integration_id": "bot"}), "/queue_id"),
        ] {
            let refused = api.put(&path, body).await;
            assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec![pointer]), "{path}");
            assert!(refused.body["errors"][0]["message"].as_str().unwrap().starts_with(why), "{}", refused.body);
            api.get(&path).await.expect(404);
        }
    }
    let blank = api.post("/v1/tenants/acme/integrations", json!({"id": "", "url": "https://n8n.example/"})).await;
    assert_eq!((blank.code(), blank.pointers()), ((422, "invalid_body"), vec!["/id"]));
}

#[tokio::test]
async fn bindings_of_queues_are_listed_in_pages() {
    let api = Api::new();
    api.put(BOT, n8n()).await.expect(201);
    for queue in ["1", "2", "3"] {
        let path = format!("/v1/tenants/acme/queues/{queue}/integration");
        api.put(&path, json!({"integration_id": "bot", "start_on_transfer": queue == "2"})).await.expect(201);
    }
    let first = api.get("/v1/tenants/acme/queues?limit=2").await.expect(200).body;
    let ids = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|binding| binding["queue_id"].clone()).collect()
    };
    assert_eq!((ids(&first), &first["items"][1]["start_on_transfer"]), (vec![json!("1"), json!("2")], &json!(true)));
    let next = format!("/v1/tenants/acme/queues?limit=2&cursor={}", first["next"].as_str().unwrap());
    let second = api.get(&next).await.expect(200).body;
    assert_eq!((ids(&second), &second["next"]), (vec![json!("3")], &Value::Null));
    assert_eq!(
        api.get("/v1/tenants/acme/queues").await.body["items"][0],
        api.get("/v1/tenants/acme/queues/1/integration").await.body
    );
}

#[tokio::test]
async fn a_view_is_disabled_and_enabled_as_its_endpoint_is() {
    let api = Api::new();
    for (view, endpoint) in [(WEBHOOK, "channel-7"), (BOT, "integration-bot")] {
        api.put(view, n8n()).await.expect(201);
        let off = api.post(&format!("{view}/disable"), json!({"reason": "moving"})).await.expect(200);
        assert_eq!((&off.body["state"], &off.body["disabled_reason"]), (&json!("disabled"), &json!("moving")));
        api.await_event("endpoint.disabled").await;
        assert_eq!(api.tenant("acme").endpoints[endpoint].state, schemas::EndpointState::Disabled);
        assert_eq!(off.etag(), api.get(view).await.etag());
        api.call("POST", format!("{view}/enable")).header("if-match", "\"1\"").send().await.expect(412);
        let on = api.call("POST", format!("{view}/enable")).send().await.expect(200).body;
        assert_eq!((&on["state"], on.get("disabled_reason")), (&json!("active"), None));
        assert_eq!(on["replayable"]["filter"], json!({"endpoint_id": endpoint, "reason": "endpoint_disabled"}));
        api.call("POST", format!("{view}/disable")).key("reader").send().await.expect(403);
    }
}

#[tokio::test]
async fn a_view_is_paused_and_enabled_as_its_endpoint_is() {
    let api = Api::new();
    for (view, endpoint) in [(WEBHOOK, "channel-7"), (BOT, "integration-bot")] {
        let made = api.put(view, n8n()).await.expect(201).body;
        let paused = api.call("POST", format!("{view}/pause")).send().await.expect(200).body;
        assert_eq!((&paused["state"], &paused["enabled"]), (&json!("paused"), &made["enabled"]));
        assert_eq!(api.tenant("acme").endpoints[endpoint].state, schemas::EndpointState::Paused);
        assert_eq!(api.put(view, n8n()).await.expect(200).body["state"], "paused", "a write keeps it");
        api.call("POST", format!("{view}/pause")).key("reader").send().await.expect(403);
        let on = api.call("POST", format!("{view}/enable")).send().await.expect(200).body;
        assert_eq!(on["state"], "active");
    }
}

#[tokio::test]
async fn a_channel_that_is_enabled_sends_whatever_stopped_it() {
    let api = Api::new();
    api.put(WEBHOOK, json!({"url": "https://n8n.example/", "events": ["sent"], "enabled": false})).await.expect(201);
    let disabled = api.call("POST", format!("{WEBHOOK}/disable")).send().await.expect(200).body;
    assert_eq!((&disabled["enabled"], &disabled["state"]), (&json!(false), &json!("disabled")));
    let enabled = api.call("POST", format!("{WEBHOOK}/enable")).send().await.expect(200).body;
    assert_eq!((&enabled["enabled"], &enabled["state"]), (&json!(true), &json!("active")));
    assert_eq!(wanted(&api, event("message.sent")), [("channel-7".to_owned(), false)]);
    let disabled = api.call("POST", format!("{WEBHOOK}/disable")).send().await.expect(200).body;
    assert_eq!(disabled["enabled"], true, "its box stays ticked: events become dead letters");
}

#[tokio::test]
async fn a_queue_is_switched_off_without_its_integration() {
    let api = Api::new();
    api.put(BOT, n8n()).await.expect(201);
    api.put(QUEUE, json!({"integration_id": "bot"})).await.expect(201);
    let off = api.call("POST", format!("{QUEUE}/disable")).send().await.expect(200).body;
    assert_eq!((&off["enabled"], api.get(BOT).await.body["state"].as_str()), (&json!(false), Some("active")));
    assert_eq!(wanted(&api, event("message.sent")), []);
    api.call("POST", format!("{QUEUE}/enable")).send().await.expect(200);
    assert_eq!(wanted(&api, event("message.sent")), [("integration-bot".to_owned(), false)]);
    for path in ["enable", "disable"] {
        api.call("POST", format!("/v1/tenants/acme/queues/13/integration/{path}")).send().await.expect(404);
    }
}

#[tokio::test]
async fn what_waits_for_a_view_is_counted_and_cancelled() {
    let api = Api::new();
    for (view, endpoint) in [(WEBHOOK, "channel-7"), (BOT, "integration-bot")] {
        api.put(view, n8n()).await.expect(201);
        assert!(api.get(&format!("{view}/waiting")).await.expect(200).body.get("waiting").is_some());
        api.call("POST", format!("{view}/cancel")).send().await.expect(200);
        assert!(api.tenant("acme").endpoints[endpoint].has_cancelled(super::NOW));
    }
    for path in ["cancel", "enable", "disable", "pause", "test", "secrets/rotate"] {
        api.call("POST", format!("/v1/tenants/acme/channels/8/webhook/{path}")).send().await.expect(404);
    }
}
