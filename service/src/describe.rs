//! Describes HTTP calls for OpenAPI, next to their routes.
//!
//! What all calls have in common (parts of the path, the key) is added where the whole document is made.

use aide::{
    generate::in_context,
    openapi::{
        HeaderStyle, MediaType, Parameter, ParameterData, ParameterSchemaOrContent, QueryStyle, ReferenceOr,
        RequestBody, Response, SchemaObject, StatusCode,
    },
    transform::TransformOperation,
};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::Value;

use crate::Problem;

/// Sets a call's tag, operation id, summary, and the keys that may use it.
pub fn call<'t>(op: TransformOperation<'t>, tag: &str, id: &str, summary: &str, who: &str) -> TransformOperation<'t> {
    op.tag(tag).id(id).summary(summary).description(who).default_response::<Problem>()
}

pub fn more<'t>(mut op: TransformOperation<'t>, text: &str) -> TransformOperation<'t> {
    let operation = op.inner_mut();
    let before = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{text} {before}").trim().to_owned());
    op
}

pub fn takes<'t, T: JsonSchema>(op: TransformOperation<'t>, example: &str) -> TransformOperation<'t> {
    body::<T>(op, &["application/json"], example)
}

/// Describes an optional JSON body.
pub fn may_take<'t, T: JsonSchema>(op: TransformOperation<'t>, example: &str) -> TransformOperation<'t> {
    let mut op = takes::<T>(op, example);
    if let Some(ReferenceOr::Item(body)) = &mut op.inner_mut().request_body {
        body.required = false;
    }
    op
}

pub fn takes_patch<'t, T: JsonSchema>(op: TransformOperation<'t>, example: &str) -> TransformOperation<'t> {
    body::<T>(op, &["application/merge-patch+json", "application/json"], example)
}

fn body<'t, T: JsonSchema>(mut op: TransformOperation<'t>, kinds: &[&str], example: &str) -> TransformOperation<'t> {
    let media = media::<T>(serde_json::from_str(example).ok());
    let content = kinds.iter().map(|kind| ((*kind).to_owned(), media.clone())).collect();
    let body = RequestBody { content, required: true, ..RequestBody::default() };
    op.inner_mut().request_body = Some(ReferenceOr::Item(body));
    op
}

/// Describes the JSON answer that has this status.
pub fn answers<const STATUS: u16, T: JsonSchema>(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    let content = [("application/json".to_owned(), media::<T>(None))].into_iter().collect();
    let description = match STATUS {
        201 => "It was created.",
        202 => "It was accepted.",
        _ => "The answer.",
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

pub fn parameter<'t>(
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

pub fn paged(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let limit = json_schema!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
    let op = parameter(op, "limit", "Largest number of entries in the answer.", limit);
    parameter(op, "cursor", "The `next` of the previous page.", json_schema!({"type": "string"}))
}

pub fn conditional(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    for (name, description) in [
        ("If-Match", "Only if its version is one of these `ETag`s; `*`: only if it exists. Otherwise 412."),
        ("If-None-Match", "`*`: only if it does not exist yet. Otherwise 412."),
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
