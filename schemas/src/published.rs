//! The JSON Schemas of what we take in and give out, made from the types; the files in `schemas/json/` are these.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use crate::{Attempt, Configuration, DeadLetter, Endpoint, Event, Parked, Subscription};

/// Each schema with its name (the file is `<name>.schema.json`), in JSON Schema draft 2020-12.
pub fn json_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("event", schema::<Event>()),
        ("subscription", schema::<Subscription>()),
        ("endpoint", schema::<Endpoint>()),
        ("tenant", schema::<Configuration>()),
        ("dead_letter", schema::<DeadLetter>()),
        ("parked", schema::<Parked>()),
        ("attempt", schema::<Attempt>()),
    ]
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests;
