//! Describes an operation, next to its route.
//!
//! What all operations have in common (parts of the path, the key) is added where the whole document is made.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, json_schema};
use serde_json::Value;
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, RefOr, Required, ResponseBuilder,
    path::{Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBody,
};

use super::{
    responses,
    schemas::{Schemas, typed},
};
use crate::problem::Code;

/// One method of a path while it is described.
#[derive(Default)]
pub struct Operation {
    operation: utoipa::openapi::path::Operation,
    schemas: Schemas,
    /// Problems that it may answer.
    codes: BTreeSet<Code>,
    /// True when its answers have the version of a resource.
    is_versioned: bool,
    /// True when it says whether it has changed anything.
    is_change: bool,
}

impl Operation {
    /// Ends the description. A path with parameters may lead to nothing, and what was deleted has no version.
    pub(super) fn into_parts(mut self, path: &str, method: &HttpMethod) -> (utoipa::openapi::path::Operation, Schemas) {
        if path.contains('{') {
            self.codes.insert(Code::NotFound);
        }
        let answers = &mut self.operation.responses.responses;
        for (status, response) in answers.iter_mut() {
            let RefOr::T(response) = response else { continue };
            let mut headers = vec![responses::REQUEST_ID];
            headers.extend((status == "201").then_some(responses::LOCATION));
            if *method != HttpMethod::Delete {
                headers.extend(self.is_versioned.then_some(responses::ETAG));
                headers.extend(self.is_change.then_some(responses::CHANGED));
            }
            responses::add_headers(response, &headers);
        }
        for (status, codes) in responses::by_status(self.codes.iter().copied()) {
            answers.insert(status.as_u16().to_string(), responses::reference(status, &codes));
        }
        (self.operation, self.schemas)
    }

    fn add_parameter(&mut self, parameter: Parameter) {
        self.operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
}

/// Sets an operation's tag, id and summary, and says which keys may use it.
pub fn call(mut op: Operation, tag: &str, id: &str, summary: &str, who: &str) -> Operation {
    let operation = &mut op.operation;
    operation.tags = Some(vec![tag.to_owned()]);
    operation.operation_id = Some(id.to_owned());
    operation.summary = Some(summary.to_owned());
    operation.description = Some(who.to_owned());
    op
}

/// Puts sentences before those that are there already.
pub fn more(mut op: Operation, text: &str) -> Operation {
    let before = op.operation.description.take().unwrap_or_default();
    op.operation.description = Some(format!("{text} {before}").trim().to_owned());
    op
}

/// Adds problems that the operation may answer, besides those that follow from its body, conditions and path.
pub fn refuses(mut op: Operation, codes: &[Code]) -> Operation {
    op.codes.extend(codes);
    op
}

pub fn takes<T: JsonSchema>(op: Operation, example: &str) -> Operation {
    body::<T>(op, &["application/json"], example)
}

/// Describes an optional JSON body.
pub fn may_take<T: JsonSchema>(op: Operation, example: &str) -> Operation {
    let mut op = takes::<T>(op, example);
    if let Some(RefOr::T(body)) = &mut op.operation.request_body {
        body.required = Some(Required::False);
    }
    op
}

pub fn takes_patch<T: JsonSchema>(op: Operation, example: &str) -> Operation {
    body::<T>(op, &["application/merge-patch+json", "application/json"], example)
}

fn body<T: JsonSchema>(mut op: Operation, kinds: &[&str], example: &str) -> Operation {
    let content = media(op.schemas.body::<T>(), serde_json::from_str(example).ok());
    let mut body = RequestBody::new();
    body.content = kinds.iter().map(|kind| ((*kind).to_owned(), RefOr::T(content.clone()))).collect();
    body.required = Some(Required::True);
    op.operation.request_body = Some(RefOr::T(body));
    refuses(op, &[Code::MalformedJson, Code::InvalidBody, Code::PayloadTooLarge, Code::UnsupportedMediaType])
}

/// Describes the JSON answer that has this status.
pub fn answers<const STATUS: u16, T: JsonSchema>(mut op: Operation) -> Operation {
    let description = match STATUS {
        201 => "It was created.",
        202 => "It was accepted, and is under way.",
        _ => "It succeeded.",
    };
    let content = media(op.schemas.answer::<T>(), None);
    let response = ResponseBuilder::new().description(description).content("application/json", content);
    op.operation.responses.responses.insert(STATUS.to_string(), response.into());
    op
}

/// Describes an answer of server-sent events, which ends only with the connection.
pub fn streams(mut op: Operation) -> Operation {
    let content = media(op.schemas.answer::<String>(), None);
    let response = ResponseBuilder::new().description("Events, as they happen.").content("text/event-stream", content);
    op.operation.responses.responses.insert("200".to_owned(), response.into());
    op
}

fn media(schema: RefOr<utoipa::openapi::Schema>, example: Option<Value>) -> Content {
    ContentBuilder::new().schema(Some(schema)).example(example).build()
}

pub fn parameter(mut op: Operation, name: &str, description: &str, schema: Schema) -> Operation {
    op.add_parameter(parameter_in(ParameterIn::Query, name, description, schema));
    op
}

/// Describes the parameter that refuses what would be accepted with warnings.
pub fn strict(op: Operation) -> Operation {
    let schema = json_schema!({"type": "boolean", "default": false});
    let op = refuses(op, &[Code::Warned, Code::InvalidParameter]);
    parameter(op, "strict", "`true`: what would be accepted with warnings is refused with 422 `warned`.", schema)
}

pub fn paged(op: Operation) -> Operation {
    let limit = json_schema!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
    let op = parameter(op, "limit", "Largest number of entries in the answer.", limit);
    let cursor = json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]*$"});
    parameter(op, "cursor", "The `next` of the previous page. Left out: the first page.", cursor)
}

/// Describes an answer with a version, as `ETag`.
pub fn versioned(mut op: Operation) -> Operation {
    op.is_versioned = true;
    op
}

/// Describes a change that can be made to depend on the version. Its answer has the new one.
pub fn conditional(mut op: Operation) -> Operation {
    for (name, description) in [
        (
            "If-Match",
            "Changes it only if its version is one of these `ETag`s, or, with `*`, only if it exists. Otherwise 412.",
        ),
        ("If-None-Match", "With `*`, changes it only if it does not exist yet. Otherwise 412."),
    ] {
        let schema = json_schema!({"type": "string", "pattern": schemas::pattern::ENTITY_TAGS});
        op.add_parameter(parameter_in(ParameterIn::Header, name, description, schema));
    }
    op.is_change = true;
    versioned(refuses(op, &[Code::PreconditionFailed, Code::Conflict]))
}

/// A parameter, which is required in a path, and may be left out elsewhere.
pub fn parameter_in(place: ParameterIn, name: &str, description: &str, schema: Schema) -> Parameter {
    let builder = ParameterBuilder::new().name(name).description(Some(description)).schema(Some(typed(schema)));
    builder.parameter_in(place).required(Required::False).build()
}
