//! The description of the calls: what they take and answer, for OpenAPI. What is the same everywhere (parts of the path,
//! the key) is added where the whole document is made.

use std::{borrow::Cow, marker::PhantomData};

use aide::{
    generate::in_context,
    openapi::{
        HeaderStyle, MediaType, Parameter, ParameterData, ParameterSchemaOrContent, QueryStyle, ReferenceOr,
        RequestBody, Response, SchemaObject, StatusCode,
    },
    transform::TransformOperation,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Scope;
use serde_json::{Value, json};
use service::Problem;

use super::resource::Resource;

/// What every call has: its place in the document, its name, and who may.
pub(crate) fn call<'t>(
    op: TransformOperation<'t>,
    tag: &str,
    id: &str,
    summary: &str,
    scope: Option<Scope>,
) -> TransformOperation<'t> {
    let who = match scope {
        Some(Scope::Publish) => "Needs the scope `publish`.",
        Some(Scope::Read) => "Needs the scope `read`.",
        Some(Scope::Manage) => "Needs the scope `manage`.",
        None => "Needs the operator's key.",
    };
    op.tag(tag).id(id).summary(summary).description(who).default_response::<Problem>()
}

/// Adds to what the call is said to do.
pub(crate) fn more<'t>(mut op: TransformOperation<'t>, text: &str) -> TransformOperation<'t> {
    let operation = op.inner_mut();
    let before = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{text} {before}").trim().to_owned());
    op
}

/// `endpoint` to `Endpoint`.
pub(crate) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Takes a JSON body.
pub(crate) fn takes<'t, T: JsonSchema>(op: TransformOperation<'t>, example: &str) -> TransformOperation<'t> {
    body::<T>(op, &["application/json"], example)
}

/// Takes a JSON merge patch.
pub(crate) fn takes_patch<'t, T: JsonSchema>(op: TransformOperation<'t>, example: &str) -> TransformOperation<'t> {
    body::<T>(op, &["application/merge-patch+json", "application/json"], example)
}

fn body<'t, T: JsonSchema>(mut op: TransformOperation<'t>, kinds: &[&str], example: &str) -> TransformOperation<'t> {
    let media = media::<T>(serde_json::from_str(example).ok());
    let content = kinds.iter().map(|kind| ((*kind).to_owned(), media.clone())).collect();
    let body = RequestBody { content, required: true, ..RequestBody::default() };
    op.inner_mut().request_body = Some(ReferenceOr::Item(body));
    op
}

/// Answers JSON of a type with a status.
pub(crate) fn answers<const STATUS: u16, T: JsonSchema>(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    let content = [("application/json".to_owned(), media::<T>(None))].into_iter().collect();
    let description = match STATUS {
        201 => "It was made.",
        202 => "It was taken and goes on.",
        _ => "So it is.",
    };
    let response = Response { description: description.to_owned(), content, ..Response::default() };
    let responses = op.inner_mut().responses.get_or_insert_default();
    responses.responses.insert(StatusCode::Code(STATUS), ReferenceOr::Item(response));
    op
}

fn media<T: JsonSchema>(example: Option<Value>) -> MediaType {
    let json_schema = in_context(|context| context.schema.subschema_for::<T>());
    let schema = Some(SchemaObject { json_schema, example: None, external_docs: None });
    MediaType { schema, example, ..MediaType::default() }
}

/// Takes a parameter of the query.
pub(crate) fn parameter<'t>(
    mut op: TransformOperation<'t>,
    name: &str,
    description: &str,
    schema: Schema,
) -> TransformOperation<'t> {
    let parameter_data = data(name, description, schema);
    op.inner_mut().parameters.push(ReferenceOr::Item(Parameter::Query {
        parameter_data,
        allow_reserved: false,
        style: QueryStyle::Form,
        allow_empty_value: None,
    }));
    op
}

/// A list in pages.
pub(crate) fn paged(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let limit = json_schema!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
    let op = parameter(op, "limit", "So many, at most.", limit);
    parameter(op, "cursor", "The `next` of the page before.", json_schema!({"type": "string"}))
}

/// Heeds `If-Match` and `If-None-Match`.
pub(crate) fn conditional(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    for (name, description) in [
        ("If-Match", "Only if its version is one of these `ETag`s; `*`: only if it is there. Else 412."),
        ("If-None-Match", "`*`: only if it is not there yet. Else 412."),
    ] {
        let parameter_data = data(name, description, json_schema!({"type": "string"}));
        let parameter = Parameter::Header { parameter_data, style: HeaderStyle::Simple };
        op.inner_mut().parameters.push(ReferenceOr::Item(parameter));
    }
    op
}

fn data(name: &str, description: &str, schema: Schema) -> ParameterData {
    ParameterData {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(SchemaObject {
            json_schema: schema,
            example: None,
            external_docs: None,
        }),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    }
}

/// A type that is only described.
macro_rules! described {
    ($(#[$doc:meta])* $name:ident, $suffix:literal, |$generator:ident| $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<R>(PhantomData<R>);

        impl<R: Resource> JsonSchema for $name<R> {
            fn schema_name() -> Cow<'static, str> {
                format!("{}{}", R::schema_name(), $suffix).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

described!(
    /// A body that makes or replaces something.
    Body, "Body", |generator| {
        let mut schema = R::json_schema(generator);
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name != "id" && !R::MADE.iter().any(|made| name == made));
        }
        schema
    }
);

described!(
    /// A body that changes something: every field may be left out, or null, which removes it.
    Patch, "Patch", |generator| {
        let mut schema = R::json_schema(generator);
        schema.remove("required");
        schema
    }
);

described!(
    /// The answer to a request that made something, with what is shown once.
    Made, "Made", |generator| {
        let mut schema = R::json_schema(generator);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, description) in R::SHOWN_ONCE {
                properties.insert((*name).to_owned(), json!({"type": "string", "readOnly": true, "description": description}));
            }
        }
        schema
    }
);

/// A page of a list.
pub(crate) struct Page<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Page<T> {
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
    /// Its id.
    id: String,
}
