//! Writes schemas in the way that generators of clients understand, without a change of meaning.
//!
//! `openapi-python-client`, `openapi-generator` and the like know choices of named objects, lists of words and null beside
//! one type. They stumble over `const` in choices, schemas that are `true`, and defaults that are no plain value.

use schemars::{
    Schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use super::schemas::Definitions;

/// Keywords of each type, for a schema of several types that is split.
const OF_TEXTS: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
const OF_NUMBERS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

/// Simplifies all schemas of answers or bodies, which are at this path of the document.
pub(super) fn definitions(mut definitions: Definitions, is_answer: bool, path: &str) -> Definitions {
    let mut simplify = Simplify { is_answer, path, named: Definitions::new() };
    for schema in definitions.values_mut() {
        if let Ok(schema) = <&mut Schema>::try_from(schema) {
            simplify.transform(schema);
        }
    }
    let Simplify { named, .. } = simplify;
    definitions.extend(named);
    definitions
}

struct Simplify<'a> {
    is_answer: bool,
    path: &'a str,
    /// Objects of choices, which get names of their own.
    named: Definitions,
}

impl Transform for Simplify<'_> {
    fn transform(&mut self, schema: &mut Schema) {
        ::schemas::bound_integers(schema);
        if schema.as_bool() == Some(true) {
            // It may be anything.
            *schema = Schema::from(Map::new());
        }
        enumerate(schema);
        self.choose(schema);
        split_types(schema);
        self.keep_plain_default(schema);
        for keyword in ["title", "uniqueItems", "writeOnly"] {
            schema.remove(keyword);
        }
        // Later versions may add fields to their answers.
        if self.is_answer && schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            schema.remove("additionalProperties");
        }
        transform_subschemas(self, schema);
    }
}

impl Simplify<'_> {
    /// Makes a choice of several types exclusive, names the objects in it by their titles, and says which field tells them
    /// apart.
    fn choose(&mut self, schema: &mut Schema) {
        let is_null = |choice: &Value| choice["type"] == "null";
        if schema
            .get("anyOf")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().filter(|one| !is_null(one)).count() > 1)
            && let Some(choices) = schema.remove("anyOf")
        {
            schema.insert("oneOf".to_owned(), choices);
        }
        let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return };
        let discriminator = discriminator(choices, self.path);
        for choice in choices {
            if let Some(reference) = choice.get("$ref").cloned() {
                // `openapi-generator` does not find a type beside whose reference something else is said.
                *choice = json!({"$ref": reference});
            }
            let title = choice["title"].as_str().map(str::to_owned);
            if let (Some(title), true) = (title, choice["properties"].is_object()) {
                let reference = json!({"$ref": format!("#{}/{title}", self.path)});
                let mut object = std::mem::replace(choice, reference);
                if let Ok(object) = <&mut Schema>::try_from(&mut object) {
                    self.transform(object);
                }
                self.named.insert(title, object);
            }
        }
        if let Some(discriminator) = discriminator {
            schema.insert("discriminator".to_owned(), discriminator);
        }
    }

    /// Keeps a default only where it is read, and is a word, a number or a truth. Beside a reference it needs a list.
    fn keep_plain_default(&self, schema: &mut Schema) {
        let is_plain = schema
            .get("default")
            .is_some_and(|default| !default.is_object() && !default.is_array() && !default.is_null());
        if self.is_answer || !is_plain {
            schema.remove("default");
        } else if let Some(reference) = schema.remove("$ref") {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
    }
}

/// The field that is another constant in each of the titled objects of a choice.
fn discriminator(choices: &[Value], path: &str) -> Option<Value> {
    let constant = |choice: &Value, field: &str| choice["properties"][field]["const"].as_str().map(str::to_owned);
    let first = choices.first()?["properties"].as_object()?;
    let field = first.keys().find(|field| choices.iter().all(|choice| constant(choice, field).is_some()))?;
    let entry =
        |choice: &Value| Some((constant(choice, field)?, json!(format!("#{path}/{}", choice["title"].as_str()?))));
    let mapping: Option<Map<_, _>> = choices.iter().map(entry).collect();
    Some(json!({"propertyName": field, "mapping": mapping?}))
}

/// Makes a choice of a schema with several types besides null.
fn split_types(schema: &mut Schema) {
    let Some(Value::Array(types)) = schema.get("type") else { return };
    if types.iter().filter(|kind| *kind != "null").count() < 2 {
        return;
    }
    let types = types.clone();
    let mut choice = |kind: &Value| {
        let keywords: &[&str] = match kind.as_str() {
            Some("string") => &OF_TEXTS,
            Some("integer" | "number") => &OF_NUMBERS,
            _ => &[],
        };
        let taken = keywords.iter().filter_map(|keyword| Some(((*keyword).to_owned(), schema.remove(*keyword)?)));
        let mut choice = Map::from_iter([("type".to_owned(), kind.clone())]);
        choice.extend(taken.collect::<Vec<_>>());
        Value::from(choice)
    };
    let choices: Vec<_> = types.iter().map(&mut choice).collect();
    schema.remove("type");
    schema.insert("oneOf".to_owned(), choices.into());
}

/// Makes one `enum` of a choice of described words. The meanings of the words go into the description.
fn enumerate(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let mut words = Vec::new();
    let mut meanings = String::new();
    for choice in choices {
        let described = choice["description"].as_str();
        match (&choice["const"], &choice["enum"]) {
            (Value::String(word), Value::Null) => {
                words.push(Value::from(word.as_str()));
                let meaning = described.map(|meaning| format!(": {}", meaning.replace('\n', " "))).unwrap_or_default();
                meanings += &format!("\n* `{word}`{meaning}");
            }
            (Value::Null, Value::Array(plain)) if plain.iter().all(Value::is_string) => {
                words.extend(plain.iter().cloned());
                plain.iter().filter_map(Value::as_str).for_each(|word| meanings += &format!("\n* `{word}`"));
            }
            _ => return,
        }
    }
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{about}\n{meanings}").trim().to_owned();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    schema.insert("description".to_owned(), description.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simplified(schema: Value, is_answer: bool) -> Definitions {
        definitions([("It".to_owned(), schema)].into(), is_answer, "/components/schemas")
    }

    #[test]
    fn described_words_become_an_enum_with_their_meanings() {
        let schema = json!({"description": "A state.", "oneOf": [
            {"type": "string", "const": "on", "description": "It runs."}, {"type": "string", "enum": ["off"]}]});
        let expected =
            json!({"description": "A state.\n\n* `on`: It runs.\n* `off`", "type": "string", "enum": ["on", "off"]});
        assert_eq!(simplified(schema, false)["It"], expected);
    }

    #[test]
    fn titled_objects_of_a_choice_get_names_and_a_field_that_tells_them_apart() {
        let variant = |title: &str, kind: &str| json!({"title": title, "type": "object", "properties": {"kind": {"type": "string", "const": kind}}});
        let all = simplified(json!({"anyOf": [variant("A", "a"), variant("B", "b")]}), false);
        let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        assert_eq!(all["It"]["oneOf"], json!([reference("A"), reference("B")]));
        assert_eq!(all["It"]["discriminator"]["mapping"]["b"], "#/components/schemas/B");
        assert_eq!(all["A"]["properties"]["kind"]["const"], "a");
    }

    #[test]
    fn several_types_become_a_choice_and_anything_is_no_boolean() {
        let schema =
            json!({"properties": {"id": {"type": ["integer", "string", "null"], "minLength": 1}, "any": true}});
        let all = simplified(schema, false);
        let choice = json!([{"type": "integer"}, {"type": "string", "minLength": 1}, {"type": "null"}]);
        assert_eq!((&all["It"]["properties"]["id"]["oneOf"], &all["It"]["properties"]["any"]), (&choice, &json!({})));
    }

    #[test]
    fn plain_defaults_stay_in_bodies_only() {
        let schema =
            json!({"properties": {"a": {"$ref": "#/x", "default": "word"}, "b": {"type": "array", "default": []}}});
        let body = &simplified(schema.clone(), false)["It"]["properties"];
        assert_eq!(
            (&body["a"], &body["b"]),
            (&json!({"allOf": [{"$ref": "#/x"}], "default": "word"}), &json!({"type": "array"}))
        );
        assert_eq!(simplified(schema, true)["It"]["properties"]["a"], json!({"$ref": "#/x"}));
    }
}
