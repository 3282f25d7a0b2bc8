//! What the answers of all operations share: problems by status, and headers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::{Schema, json_schema};
use serde_json::json;
use utoipa::openapi::{Components, ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::schemas::{Schemas, typed};
use crate::{Problem, problem::Code};

/// A header's name, and that of its description.
pub(super) type HeaderOfAnswer = (&'static str, &'static str);

pub(super) const REQUEST_ID: HeaderOfAnswer = ("x-request-id", "RequestId");
pub(super) const ETAG: HeaderOfAnswer = ("ETag", "ETag");
pub(super) const LOCATION: HeaderOfAnswer = ("Location", "Location");
const RETRY_AFTER: HeaderOfAnswer = ("Retry-After", "RetryAfter");
const AUTHENTICATE: HeaderOfAnswer = ("WWW-Authenticate", "Authenticate");

pub(super) fn by_status(codes: impl IntoIterator<Item = Code>) -> BTreeMap<StatusCode, Vec<Code>> {
    let mut statuses: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for code in codes {
        statuses.entry(code.status()).or_default().push(code);
    }
    statuses
}

/// Refers to the shared answer of a status, and says which codes an operation answers with it.
pub(super) fn reference(status: StatusCode, codes: &[Code]) -> RefOr<Response> {
    let mut reference = Ref::new(format!("#/components/responses/{}", name(status)));
    reference.description = meanings(codes);
    RefOr::Ref(reference)
}

pub(super) fn add_headers(response: &mut Response, headers: &[HeaderOfAnswer]) {
    for (header, component) in headers {
        let reference = Ref::new(format!("#/components/headers/{component}"));
        response.headers.insert((*header).to_owned(), RefOr::Ref(reference));
    }
}

/// Describes the answers of all problems, and the headers.
pub(super) fn write_into(components: &mut Components, schemas: &mut Schemas) {
    let seconds = json_schema!({"type": "integer", "minimum": 0});
    for ((_, component), about, schema) in [
        (
            REQUEST_ID,
            "Id of the request, by which the operator finds it in the log: its own, if it came with one.",
            text(),
        ),
        (
            ETAG,
            "Version of the resource, for `If-Match`. Stores that keep no versions, such as files, send none.",
            text(),
        ),
        (LOCATION, "Path of what was created.", text()),
        (RETRY_AFTER, "Seconds after which it may be tried again.", seconds),
        (AUTHENTICATE, "How to show a key: `Bearer`.", text()),
    ] {
        let header = HeaderBuilder::new().description(Some(about)).schema(Some(typed(schema))).build();
        components.headers.insert(component.to_owned(), RefOr::T(header));
    }
    // Nothing that is described is answered with the other codes.
    let described = Code::ALL.into_iter().filter(|code| !matches!(code, Code::MethodNotAllowed | Code::Internal));
    for (status, codes) in by_status(described) {
        let example = codes.first().map(|code| json!(Problem::new(*code)));
        let content = ContentBuilder::new().schema(Some(schemas.answer::<Problem>())).example(example).build();
        let mut response =
            ResponseBuilder::new().description(meanings(&codes)).content("application/problem+json", content).build();
        add_headers(&mut response, &[REQUEST_ID]);
        match status {
            StatusCode::UNAUTHORIZED => add_headers(&mut response, &[AUTHENTICATE]),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                add_headers(&mut response, &[RETRY_AFTER]);
            }
            _ => {}
        }
        components.responses.insert(name(status), RefOr::T(response));
    }
}

fn text() -> Schema {
    json_schema!({"type": "string"})
}

/// Name of the shared answer of a status: its reason phrase, as one word.
fn name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().split(' ').collect()
}

fn meanings(codes: &[Code]) -> String {
    let meanings: Vec<_> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    meanings.join(" ")
}
