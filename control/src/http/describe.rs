//! Describes the routes of control for OpenAPI.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Scope;
use service::openapi::Operation;
pub(crate) use service::openapi::describe::{
    answers, conditional, may_take, more, paged, parameter, takes, takes_patch,
};

/// Describes what every operation has: its tag, its id, its summary, and the permission that it needs.
pub(crate) fn operation(op: Operation, tag: &str, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let authorized = match scope {
        Some(Scope::Publish) => "Needs the scope `publish`.",
        Some(Scope::Read) => "Needs the scope `read`.",
        Some(Scope::Manage) => "Needs the scope `manage`.",
        None => "Needs the operator's key.",
    };
    service::openapi::describe::call(op, tag, id, summary, authorized)
}

pub(crate) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

pub(crate) struct PageSchema<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for PageSchema<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Page", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": items},
                "next": {"type": ["string", "null"], "description": "The cursor of the next page; null on the last."}
            }
        })
    }
}

/// What a deletion answers.
#[derive(JsonSchema)]
#[schemars(rename = "Deleted")]
#[expect(dead_code, reason = "described only: the answer is made where the deletion is")]
pub(crate) struct Deleted {
    /// What went.
    deleted: Vec<DeletedItem>,
    /// What deliveries that are still queued for it end as.
    queued: Option<String>,
    /// The same as a sentence.
    detail: Option<String>,
}

/// One thing that went.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described only: the answer is made where the deletion is")]
struct DeletedItem {
    /// `tenant`, `endpoint`, `subscription`, `source` or `key`.
    kind: String,
    /// Id of the item.
    id: String,
}
