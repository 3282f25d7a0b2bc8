//! The schemas of bodies and answers, until the document is written.
//!
//! A type is described twice: as it is read, where what has a default may be left out, and as it is written, where secrets
//! are masked. Types for which both are equal have one schema in the document.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;

const ANSWERS: &str = "/components/schemas";
/// Where bodies' schemas are until they have their final names.
const BODIES: &str = "/components/bodies";
/// What the name of a body's schema ends with where an answer has another schema of the same name.
const SUFFIX: &str = "Input";

#[derive(Default)]
pub(super) struct Schemas {
    answers: BTreeMap<String, Value>,
    bodies: BTreeMap<String, Value>,
}

/// Makes the schemas of one operation.
pub(super) struct Generators {
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
}

impl Default for Generators {
    fn default() -> Self {
        let at = |path: &'static str| {
            let plain = RecursiveTransform(|schema: &mut Schema| simplify(schema));
            SchemaSettings::draft2020_12()
                .with_transform(plain)
                .with(|settings| settings.definitions_path = path.into())
        };
        Self {
            answers: at(ANSWERS).for_serialize().into_generator(),
            bodies: at(BODIES).for_deserialize().into_generator(),
        }
    }
}

impl Generators {
    pub(super) fn answer<T: JsonSchema>(&mut self) -> RefOr<utoipa::openapi::Schema> {
        typed(self.answers.subschema_for::<T>())
    }

    pub(super) fn body<T: JsonSchema>(&mut self) -> RefOr<utoipa::openapi::Schema> {
        typed(self.bodies.subschema_for::<T>())
    }

    pub(super) fn into_schemas(mut self) -> Schemas {
        Schemas {
            answers: self.answers.take_definitions(true).into_iter().collect(),
            bodies: self.bodies.take_definitions(true).into_iter().collect(),
        }
    }
}

/// A reference or a short schema as `utoipa` has it.
pub(super) fn typed(schema: Schema) -> RefOr<utoipa::openapi::Schema> {
    let schema = Value::from(schema);
    let typed = serde_json::from_value(schema.clone()).unwrap_or_default();
    debug_assert_eq!(serde_json::to_value(&typed).ok(), Some(schema), "give this type a name, for it loses keywords");
    typed
}

impl Schemas {
    pub(super) fn merge(&mut self, other: Self) {
        for (into, from) in [(&mut self.answers, other.answers), (&mut self.bodies, other.bodies)] {
            for (name, schema) in from {
                let known = into.entry(name).or_insert_with_key(|_| schema.clone());
                debug_assert_eq!(*known, schema, "two types have the same name");
            }
        }
    }

    /// Puts the schemas into a document, and lets its references lead to them.
    pub(super) fn write_into(self, document: &mut Value) {
        let names = self.names_of_bodies();
        let mut schemas = self.answers;
        for (name, mut schema) in self.bodies {
            rename(&mut schema, &names);
            schemas.insert(names[&name].clone(), schema);
        }
        rename(document, &names);
        document["components"]["schemas"] = schemas.into_iter().collect::<Map<_, _>>().into();
    }

    /// The final name of each body's schema: its own, unless an answer has another schema of this name.
    fn names_of_bodies(&self) -> BTreeMap<String, String> {
        let text = |schema: &Value| schema.to_string().replace(BODIES, ANSWERS);
        let answers: BTreeMap<_, _> = self.answers.iter().map(|(name, schema)| (name, text(schema))).collect();
        let bodies: BTreeMap<_, _> = self.bodies.iter().map(|(name, schema)| (name, text(schema))).collect();
        let mut different: BTreeSet<&String> = bodies
            .iter()
            .filter(|(name, body)| answers.get(*name).is_some_and(|answer| answer != *body))
            .map(|(name, _)| *name)
            .collect();
        // A schema that refers to a different one differs as well.
        loop {
            let refers = |text: &str| different.iter().any(|name| text.contains(&format!("\"#{ANSWERS}/{name}\"")));
            let more: Vec<_> = bodies
                .iter()
                .filter(|(name, body)| answers.contains_key(*name) && !different.contains(*name) && refers(body))
                .map(|(name, _)| *name)
                .collect();
            if more.is_empty() {
                break;
            }
            different.extend(more);
        }
        let name = |name: &String| if different.contains(name) { format!("{name}{SUFFIX}") } else { name.clone() };
        self.bodies.keys().map(|own| (own.clone(), name(own))).collect()
    }
}

/// Lets the references to bodies' schemas lead to their final names.
fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let body = value
                    .as_str()
                    .filter(|_| name == "$ref")
                    .and_then(|path| path.strip_prefix('#')?.strip_prefix(BODIES));
                match body.and_then(|path| names.get(path.strip_prefix('/')?)) {
                    Some(name) => *value = format!("#{ANSWERS}/{name}").into(),
                    None => rename(value, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

/// Writes what generators of clients do not understand in a way that they do, without a change of meaning.
fn simplify(schema: &mut Schema) {
    enumerate(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        // A property that may be anything.
        properties
            .values_mut()
            .filter(|property| property.is_boolean())
            .for_each(|property| *property = Map::new().into());
    }
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
