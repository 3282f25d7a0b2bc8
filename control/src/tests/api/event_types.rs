//! The catalogue of event types.

use serde_json::Value;

use super::Api;

const EVENT_TYPES: &str = "/v1/event-types";

#[tokio::test]
async fn the_catalogue_shows_every_type_in_every_format_that_has_it() {
    let answer = Api::new().get(EVENT_TYPES).await.expect(200);
    let items = answer.body["items"].as_array().unwrap();
    assert_eq!((items.len(), &answer.body["next"]), (schemas::EventType::KNOWN.len(), &Value::Null));
    let created = items.iter().find(|item| item["type"] == "ticket.created").unwrap();
    assert_eq!((&created["entity"], &created["action"]), (&"ticket".into(), &"created".into()));
    assert_eq!(created["samples"]["whazing"]["Type"], "NewTicket");
    assert_eq!((&created["samples"]["whaticket"], &created["samples"]["boticario"]), (&Value::Null, &Value::Null));
    assert_eq!(created["formats"], serde_json::json!(["whazing", "canonical", "original"]));
}

#[tokio::test]
async fn the_catalogue_is_for_any_key_and_for_nobody_else() {
    let api = Api::new();
    for key in ["manager", "reader", "publisher", "zeta-all"] {
        api.call("GET", EVENT_TYPES).key(key).send().await.expect(200);
    }
    api.call("GET", EVENT_TYPES).operator().send().await.expect(200);
    api.call("GET", EVENT_TYPES).key("wrong").send().await.expect(401);
    api.call("GET", EVENT_TYPES).nobody().send().await.expect(401);
}
