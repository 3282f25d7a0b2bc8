//! The committed schemas agree with the types.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::*;

fn schema_of(name: &str) -> Value {
    let (_, schema) = json_schemas().into_iter().find(|(found, _)| *found == name).unwrap();
    schema.to_value()
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("json");
    for (name, schema) in json_schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = folder.join(format!("{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "{name}.schema.json is out of date: run the tests with UPDATE_SCHEMAS=1");
    }
}

#[test]
fn an_event_needs_nothing_but_its_type_and_may_have_unknown_keys() {
    let event = schema_of("event");
    assert_eq!(event["required"], serde_json::json!(["type"]));
    for (name, definition) in event["$defs"].as_object().unwrap().iter().chain([(&"event".to_owned(), &event)]) {
        assert!(definition.get("additionalProperties").is_none(), "{name} refuses unknown keys");
        let is_change = definition.get("oneOf").is_some();
        assert!(is_change || name == "event" || definition.get("required").is_none(), "{name} requires keys");
    }
}

#[test]
fn properties_that_may_be_null_say_so() {
    let event = schema_of("event");
    let text = event.to_string();
    assert!(event["properties"]["ticket"]["anyOf"][1]["type"] == "null", "{}", event["properties"]["ticket"]);
    assert_eq!(event["properties"]["id"]["type"], serde_json::json!(["string", "null"]));
    let queue_id = &event["$defs"]["Queue"]["properties"]["id"];
    assert!(queue_id.to_string().contains("null") && text.contains("integer"), "{queue_id}");
}
