//! The shapes of bodies that write a resource, made of the resource's own schema.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Keywords that say how fields depend on each other, which a patch has only together with what is stored.
const CONDITIONS: [&str; 7] =
    ["required", "if", "then", "else", "dependentRequired", "dependentSchemas", "minProperties"];

/// The shape of a body that creates or replaces: `without` are the fields that it does not have, and `optional` those that
/// may be left out although the resource always has them. Fields that may be left out may also be null.
pub fn body_shape(mut schema: Schema, without: &[&str], optional: &[&str]) -> Schema {
    remove_fields(&mut schema, without);
    retain_required(&mut schema, |name| !optional.contains(&name) && !without.contains(&name));
    let required = required(&schema);
    for (name, property) in properties(&mut schema).into_iter().flatten() {
        if !required.contains(name) {
            allow_null(property);
        }
    }
    schema
}

/// The shape of a merge patch (RFC 7396): every field may be left out, and null removes those that the resource can be
/// without. Objects in fields are patched as well.
pub fn patch_shape(mut schema: Schema, without: &[&str], generator: &mut SchemaGenerator) -> Schema {
    remove_fields(&mut schema, without);
    patch(schema.ensure_object(), generator);
    schema
}

fn patch(schema: &mut Map<String, Value>, generator: &mut SchemaGenerator) {
    let required: Vec<String> = strings(schema.get("required"));
    for keyword in CONDITIONS {
        schema.remove(keyword);
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        let Value::Object(fields) = property else { continue };
        // A client would send a default, and so overwrite what is stored.
        fields.remove("default");
        patch_referred(fields, generator);
        // Null removes an entry.
        fields.get_mut("additionalProperties").into_iter().for_each(allow_null);
        if !required.contains(name) {
            allow_null(property);
        }
    }
}

/// Lets a reference to an object lead to the patch of this object.
fn patch_referred(property: &mut Map<String, Value>, generator: &mut SchemaGenerator) {
    let alternatives = property.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten();
    alternatives.filter_map(Value::as_object_mut).for_each(|one| patch_referred(one, generator));
    let Some(path) = property.get("$ref").and_then(Value::as_str) else { return };
    let Some((folder, name)) = path.rsplit_once('/').map(|(folder, name)| (folder.to_owned(), name.to_owned())) else {
        return;
    };
    let patched = format!("{name}Patch");
    if !generator.definitions().contains_key(&patched) {
        let Some(Value::Object(referred)) = generator.definitions().get(&name) else { return };
        if !referred.contains_key("properties") {
            return;
        }
        let mut referred = referred.clone();
        patch(&mut referred, generator);
        generator.definitions_mut().insert(patched.clone(), referred.into());
    }
    property.insert("$ref".to_owned(), format!("{folder}/{patched}").into());
}

fn allow_null(property: &mut Value) {
    let Value::Object(fields) = property else { return };
    if let Some(kinds) = fields.get_mut("type") {
        let is_null = |kind: &Value| kind == "null";
        match kinds {
            Value::Array(kinds) if !kinds.iter().any(is_null) => kinds.push("null".into()),
            Value::String(kind) => *kinds = json!([kind, "null"]),
            _ => {}
        }
        if let Some(Value::Array(words)) = fields.get_mut("enum") {
            words.push(Value::Null);
        }
    } else if let Some(list) = ["anyOf", "oneOf"].into_iter().find(|list| fields.contains_key(*list)) {
        let null = json!({"type": "null"});
        if let Some(Value::Array(kinds)) = fields.get_mut(list)
            && !kinds.contains(&null)
        {
            kinds.push(null);
        }
    } else if let Some(reference) = fields.remove("$ref") {
        fields.insert("anyOf".to_owned(), json!([{"$ref": reference}, {"type": "null"}]));
    }
}

fn properties(schema: &mut Schema) -> Option<&mut Map<String, Value>> {
    schema.get_mut("properties").and_then(Value::as_object_mut)
}

fn remove_fields(schema: &mut Schema, without: &[&str]) {
    if let Some(properties) = properties(schema) {
        let is_read_only = |property: &Value| property["readOnly"] == true;
        properties.retain(|name, property| !without.contains(&name.as_str()) && !is_read_only(property));
    }
}

fn required(schema: &Schema) -> Vec<String> {
    strings(schema.get("required"))
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn retain_required(schema: &mut Schema, keep: impl Fn(&str) -> bool) {
    if let Some(Value::Array(names)) = schema.get_mut("required") {
        names.retain(|name| name.as_str().is_some_and(&keep));
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "described only")]
    struct Resource {
        id: String,
        url: String,
        #[serde(default)]
        limit: u8,
        #[serde(default)]
        retry: Retry,
        #[serde(default)]
        #[schemars(extend("readOnly" = true))]
        state: String,
    }

    #[derive(Default, serde::Serialize, JsonSchema)]
    struct Retry {
        times: u8,
        #[serde(default)]
        wait: Option<String>,
    }

    fn shape(make: impl FnOnce(Schema, &mut SchemaGenerator) -> Schema) -> (Value, SchemaGenerator) {
        let mut generator = SchemaGenerator::default();
        let schema = Resource::json_schema(&mut generator);
        let shape = make(schema, &mut generator);
        (shape.into(), generator)
    }

    fn names(properties: &Value) -> Vec<&str> {
        properties.as_object().expect("properties").keys().map(String::as_str).collect()
    }

    #[test]
    fn a_body_has_what_can_be_written_and_null_for_what_can_be_left_out() {
        let (body, _) = shape(|schema, _| body_shape(schema, &["id"], &[]));
        assert_eq!((names(&body["properties"]), &body["required"]), (vec!["url", "limit", "retry"], &json!(["url"])));
        assert_eq!(
            (&body["properties"]["url"]["type"], &body["properties"]["limit"]["type"]),
            (&json!("string"), &json!(["integer", "null"]))
        );
        assert_eq!(body["properties"]["retry"]["anyOf"][1], json!({"type": "null"}));
    }

    #[test]
    fn a_patch_requires_nothing_has_no_defaults_and_patches_objects_in_fields() {
        let (patch, generator) = shape(|schema, generator| patch_shape(schema, &["id"], generator));
        assert_eq!((names(&patch["properties"]), patch.get("required")), (vec!["url", "limit", "retry"], None));
        let text = patch.to_string() + &generator.definitions()["RetryPatch"].to_string();
        assert!(!text.contains("default"), "{text}");
        assert_eq!(
            (&patch["properties"]["url"]["type"], &patch["properties"]["retry"]["anyOf"][0]["$ref"]),
            (&json!("string"), &json!("#/$defs/RetryPatch"))
        );
        assert_eq!(generator.definitions()["RetryPatch"].get("required"), None);
        assert_eq!(generator.definitions()["Retry"]["required"], json!(["times"]));
    }
}
