//! The schemas of bodies and answers, until the document is written.
//!
//! A type is described twice: as it is read, where what has a default may be left out, and as it is written, where secrets
//! are masked. Types for which both are equal have one schema in the document.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};
use utoipa::openapi::{Ref, RefOr};

use super::simplify;

const ANSWERS: &str = "/components/schemas";
/// Where bodies' schemas are until they have their final names.
const BODIES: &str = "/components/bodies";
/// What the name of a body's schema ends with where an answer has another schema of the same name.
const SUFFIX: &str = "Input";

pub(super) type Definitions = BTreeMap<String, Value>;

/// Adds the schema of a type, and of all that it refers to, to a generator's definitions.
type Define = fn(&mut SchemaGenerator) -> Schema;

/// The types of bodies and answers. Their schemas are made once, with the document.
#[derive(Default)]
pub(super) struct Schemas {
    answers: Vec<Define>,
    bodies: Vec<Define>,
}

impl Schemas {
    pub(super) fn answer<T: JsonSchema>(&mut self) -> RefOr<utoipa::openapi::Schema> {
        self.answers.push(SchemaGenerator::subschema_for::<T>);
        reference::<T>(ANSWERS)
    }

    pub(super) fn body<T: JsonSchema>(&mut self) -> RefOr<utoipa::openapi::Schema> {
        self.bodies.push(SchemaGenerator::subschema_for::<T>);
        reference::<T>(BODIES)
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.bodies.extend(other.bodies);
    }

    /// Puts the schemas into a document, and lets its references lead to them.
    pub(super) fn write_into(self, document: &mut Value) {
        let at = |path: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = path.into())
        };
        let answers = definitions(at(ANSWERS).for_serialize().into_generator(), &self.answers, ANSWERS);
        let bodies = definitions(at(BODIES).for_deserialize().into_generator(), &self.bodies, BODIES);
        let names = names_of_bodies(&answers, &bodies);
        let mut schemas = answers;
        for (name, mut schema) in bodies {
            rename(&mut schema, &names);
            schemas.insert(names[&name].clone(), schema);
        }
        rename(document, &names);
        document["components"]["schemas"] = schemas.into_iter().collect::<Map<_, _>>().into();
    }
}

fn reference<T: JsonSchema>(path: &str) -> RefOr<utoipa::openapi::Schema> {
    if T::inline_schema() {
        typed(T::json_schema(&mut SchemaGenerator::default()))
    } else {
        RefOr::Ref(Ref::new(format!("#{path}/{}", T::schema_name())))
    }
}

/// A reference or a short schema as `utoipa` has it.
pub(super) fn typed(schema: Schema) -> RefOr<utoipa::openapi::Schema> {
    let schema = Value::from(schema);
    let typed = serde_json::from_value(schema.clone()).unwrap_or_default();
    debug_assert_eq!(serde_json::to_value(&typed).ok(), Some(schema), "give this type a name, for it loses keywords");
    typed
}

fn definitions(mut generator: SchemaGenerator, types: &[Define], path: &str) -> Definitions {
    for define in types {
        define(&mut generator);
    }
    let is_answer = generator.contract().is_serialize();
    let definitions = generator.take_definitions(false).into_iter();
    simplify::definitions(definitions.collect(), is_answer, path)
}

/// The final name of each body's schema: its own, unless an answer has another schema of this name.
fn names_of_bodies(answers: &Definitions, bodies: &Definitions) -> BTreeMap<String, String> {
    let text = |schema: &Value| schema.to_string().replace(BODIES, ANSWERS);
    let shared: BTreeMap<&String, (String, String)> =
        bodies.iter().filter_map(|(name, body)| Some((name, (text(body), text(answers.get(name)?))))).collect();
    let mut different: BTreeSet<&String> =
        shared.iter().filter(|(_, (body, answer))| body != answer).map(|(name, _)| *name).collect();
    // A schema that refers to a different one differs as well.
    loop {
        let refers = |text: &str| different.iter().any(|name| text.contains(&format!("\"#{ANSWERS}/{name}\"")));
        let found = shared.iter().filter(|(name, (body, _))| !different.contains(*name) && refers(body));
        let more: Vec<_> = found.map(|(name, _)| *name).collect();
        if more.is_empty() {
            break;
        }
        different.extend(more);
    }
    let name = |name: &String| if different.contains(name) { format!("{name}{SUFFIX}") } else { name.clone() };
    bodies.keys().map(|own| (own.clone(), name(own))).collect()
}

/// Lets the references to bodies' schemas, and the targets of discriminators, lead to their final names.
fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, names)),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::String(text) => {
            let body = text.strip_prefix('#').and_then(|path| path.strip_prefix(BODIES)?.strip_prefix('/'));
            if let Some(name) = body.and_then(|name| names.get(name)) {
                *text = format!("#{ANSWERS}/{name}");
            }
        }
        _ => {}
    }
}
