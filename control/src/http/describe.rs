//! Describes the routes of control for OpenAPI.

use std::{borrow::Cow, marker::PhantomData};

use aide::transform::TransformOperation;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Scope;
use serde_json::{Value, json};
pub(crate) use service::describe::{answers, conditional, may_take, more, paged, parameter, takes, takes_patch};

use super::tenant_item::TenantItem;

/// Describes what every operation has: its tag, its id, its summary, and the permission that it needs.
pub(crate) fn operation<'t>(
    op: TransformOperation<'t>,
    tag: &str,
    id: &str,
    summary: &str,
    scope: Option<Scope>,
) -> TransformOperation<'t> {
    let authorized = match scope {
        Some(Scope::Publish) => "Needs the scope `publish`.",
        Some(Scope::Read) => "Needs the scope `read`.",
        Some(Scope::Manage) => "Needs the scope `manage`.",
        None => "Needs the operator's key.",
    };
    service::describe::call(op, tag, id, summary, authorized)
}

/// Capitalizes a word: `endpoint` becomes `Endpoint`.
pub(crate) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Declares the schema of a body or an answer that is the schema of an item with some differences.
macro_rules! described {
    ($(#[$doc:meta])* $name:ident, $suffix:literal, |$generator:ident| $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<T>(PhantomData<T>);

        impl<T: TenantItem> JsonSchema for $name<T> {
            fn schema_name() -> Cow<'static, str> {
                format!("{}{}", T::schema_name(), $suffix).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

described!(
    /// Body that creates or replaces an item: the id, and secrets that are generated, may be left out.
    ItemBody, "Body", |generator| {
        let mut schema = T::json_schema(generator);
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name != "id" && !T::GENERATED.iter().any(|(generated, _)| name == generated));
        }
        schema
    }
);

described!(
    /// Body that changes an item: every field may be left out, or null, which removes it.
    ItemPatch, "Patch", |generator| {
        let mut schema = T::json_schema(generator);
        schema.remove("required");
        schema
    }
);

described!(
    /// Answer to a request that created an item, with what is shown once.
    WithShownOnce, "Made", |generator| {
        let mut schema = T::json_schema(generator);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, description) in T::SHOWN_ONCE {
                properties.insert((*name).to_owned(), json!({"type": "string", "readOnly": true, "description": description}));
            }
        }
        schema
    }
);

described!(
    /// Answer to a request that enabled an endpoint, with what could be replayed now.
    EnabledEndpoint, "Enabled", |generator| {
        let mut schema = T::json_schema(generator);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("replayable".to_owned(), json!({
                "type": "object", "readOnly": true, "required": ["dead_letters", "filter"],
                "description": "What ended while it was disabled, and could be replayed.",
                "properties": {
                    "dead_letters": {"type": ["integer", "null"],
                        "description": "How many live dead letters `endpoint_disabled` it has; null if they cannot be read now."},
                    "filter": {"type": "object", "description": "Which they are, for a replay."},
                    "detail": {"type": "string", "description": "The command that replays them, if there are any."}
                }
            }));
        }
        schema
    }
);

/// Answer with one page of a list.
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
