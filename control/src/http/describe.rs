//! Describes the routes of control for OpenAPI.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::{Scope, Warning};
use serde_json::{Value, json};
pub(crate) use service::openapi::describe::{
    answers, conditional, may_take, more, paged, parameter, refuses, streams, strict, takes, versioned,
};
use service::{
    openapi::{Operation, describe::takes_patch},
    problem::Code,
};

use super::{
    resource::Resource,
    shapes::{NewResource, ResourceBody, ResourcePatch},
};

/// Describes what every operation has: its tag, its id, its summary, and the permission that it needs.
pub(crate) fn operation(op: Operation, tag: &str, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    let authorized = match scope {
        Some(Scope::Publish) => "Needs the scope `publish`.",
        Some(Scope::Read) => "Needs the scope `read`.",
        Some(Scope::Manage) => "Needs the scope `manage`.",
        None => "Needs the operator's key.",
    };
    let op = service::openapi::describe::call(op, tag, id, summary, authorized);
    refuses(
        op,
        &[Code::InvalidParameter, Code::Unauthorized, Code::Forbidden, Code::TooManyRequests, Code::Unavailable],
    )
}

/// Describes an operation that any valid key allows.
pub(crate) fn any_key(op: Operation, tag: &str, id: &str, summary: &str) -> Operation {
    let op = service::openapi::describe::call(op, tag, id, summary, "Needs any valid key.");
    refuses(op, &[Code::InvalidParameter, Code::Unauthorized, Code::TooManyRequests, Code::Unavailable])
}

/// Describes a call that creates a resource, under the id in its body or one that is made.
pub(crate) fn creates<R: Resource + JsonSchema>(op: Operation, example: &str) -> Operation {
    strict(versioned(refuses(takes::<NewResource<R>>(op, example), &REFUSALS)))
}

/// Describes a call that creates or replaces the resource of its path.
pub(crate) fn replaces<R: Resource + JsonSchema>(op: Operation, example: &str) -> Operation {
    strict(conditional(refuses(takes::<ResourceBody<R>>(op, example), &REFUSALS)))
}

/// Describes a call that changes the resource of its path.
pub(crate) fn patches<R: Resource + JsonSchema>(op: Operation, example: &str) -> Operation {
    strict(conditional(refuses(takes_patch::<ResourcePatch<R>>(op, example), &REFUSALS)))
}

/// Why a change of the configuration is refused, besides mistakes in its body.
const REFUSALS: [Code; 2] = [Code::Conflict, Code::QuotaReached];

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

/// Answer to a change of a resource: the resource, and what is probably a mistake in it.
pub(crate) struct Changed<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Changed<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Changed", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let schema = T::json_schema(generator);
        with_warnings(schema, generator)
    }
}

/// Adds the warnings of an answer to the schema of a resource.
pub(crate) fn with_warnings(mut schema: Schema, generator: &mut SchemaGenerator) -> Schema {
    let warning = generator.subschema_for::<Warning>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let description =
            "What is probably a mistake. Left out when there is nothing; not stored, and no part of the `ETag`.";
        let warnings = json!({"type": "array", "items": warning, "readOnly": true, "description": description});
        properties.insert("warnings".to_owned(), warnings);
    }
    schema
}

/// What was deleted.
#[derive(JsonSchema)]
#[schemars(rename = "Deleted")]
#[expect(dead_code, reason = "described only: the answer is made where the deletion is")]
pub(crate) struct Deleted {
    /// Everything that was deleted: with an endpoint its subscriptions, with a tenant all that it had.
    deleted: Vec<DeletedItem>,
    /// Reason of the dead letters that deliveries still queued for it become. Left out where there can be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// One thing that was deleted.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described only: the answer is made where the deletion is")]
struct DeletedItem {
    /// `tenant`, `endpoint`, `subscription`, `source` or `key`.
    kind: String,
    /// Id of the item.
    id: String,
}
