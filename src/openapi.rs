//! The OpenAPI document of the whole API, made from the routes of all roles, and its page. The page works offline,
//! because its script is in the binary.

#[cfg(test)]
mod isolation;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use schemars::json_schema;
use serde_json::Value;
use service::openapi::{ApiRouter, Description, describe, get_with};
use utoipa::openapi::{
    Info, PathItem, RefOr, Server, Tag,
    path::ParameterIn,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use crate::VERSION;

const DOCUMENT: &str = "/v1/openapi.json";
const PAGE: &str = "/docs";
const SCRIPT: &str = "/docs/redoc.standalone.js";
const SCHEME: &str = "key";

/// Redoc 2.5.4 from npm, with its license beside it.
const REDOC: &str = include_str!("openapi/redoc/redoc.standalone.js");
const PAGE_TEXT: &str = include_str!("openapi/redoc/page.html");
/// What a browser may load for the page: only what this process serves.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src blob:; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const DESCRIPTION: &str = "Takes ticket and message events in, and brings each of them to every endpoint that asked for \
    it: at least once, and with everything it could not bring kept and replayable.\n\n\
    Errors are RFC 9457 problems with a closed list of codes. Every answer has an `x-request-id`, the request's own if it \
    came with one, by which an operator finds it in the log. Lists come in pages: follow `next`. What is written has a \
    version, its `ETag`; `If-Match` protects it from being overwritten unseen. Secrets are shown once, when they are made, \
    and masked from then on: left out they are kept, null removes them, and a mask written back is refused.";

const TAGS: [(&str, &str); 14] = [
    ("events", "Take events in, and ask what one would do."),
    ("channels", "A channel's webhook: a URL and boxes to tick."),
    ("integrations", "A URL that queues are bound to."),
    ("endpoints", "Where deliveries are posted."),
    ("subscriptions", "What an endpoint is posted."),
    ("sources", "Where vendors' webhooks come in."),
    ("keys", "What a tenant's programs show to act for it."),
    ("dead letters", "What could not be brought, and its replays."),
    ("usage", "What was used."),
    ("audit", "Who changed what."),
    ("tenants", "The operator's customers."),
    ("everything", "All of it at once."),
    ("parked", "What could not be processed."),
    ("description", "This."),
];

/// Descriptions of path parameters; the last one is for any other.
const PARTS: [(&str, &str); 6] = [
    ("tenant", "The tenant's id."),
    ("id", "Its id."),
    ("channel_id", "The channel's id, as the platform has it."),
    ("queue_id", "The queue's id, as the platform has it."),
    ("token", "The source's token."),
    ("", "A part of the path."),
];

/// The document of all roles, which each process serves whatever its own roles are.
pub fn document() -> Value {
    let mut description = Description::default();
    description.merge(producer::describe());
    description.merge(control::describe());
    description.merge(api().into_parts().1);
    let document = &mut description.document;
    document.info = Info::new("carteiro", VERSION);
    document.info.description = Some(DESCRIPTION.to_owned());
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(TAGS.iter().map(|(name, about)| tag(name, about)).collect());
    for (path, item) in &mut document.paths.paths {
        name_parts(path, item);
    }
    protect(document);
    description.into_json()
}

fn tag(name: &str, about: &str) -> Tag {
    let mut tag = Tag::new(name);
    tag.description = Some(about.to_owned());
    tag
}

pub fn routes() -> Router {
    api().into_parts().0.route(PAGE, get(serve_page)).route(SCRIPT, get(serve_script))
}

fn api() -> ApiRouter<()> {
    ApiRouter::new().api_route(
        DOCUMENT,
        get_with(serve_document, |op| {
            let op = describe::call(op, "description", "getOpenApi", "This document", "Needs no key.");
            describe::answers::<200, serde_json::Map<String, Value>>(op)
        }),
    )
}

async fn serve_document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

async fn serve_page() -> Response {
    let policy = HeaderValue::from_static(PAGE_POLICY);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE_TEXT)).into_response()
}

async fn serve_script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript"), (header::CACHE_CONTROL, "max-age=3600")], REDOC).into_response()
}

/// Describes the parameters of a path, which are required texts.
fn name_parts(path: &str, item: &mut PathItem) {
    for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let about = PARTS.iter().find(|(name, _)| *name == part).or(PARTS.last()).map_or("", |(_, about)| about);
        let parameter = describe::parameter_in(ParameterIn::Path, part, about, json_schema!({"type": "string"}));
        item.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
}

/// Requires a key for every call, except for vendors' webhooks, whose path has a token, and for this document.
fn protect(document: &mut utoipa::openapi::OpenApi) {
    let about = "The operator's key, or a tenant's with the scopes that the call needs.";
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(SCHEME.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    document.security = Some(vec![SecurityRequirement::new(SCHEME, [""; 0])]);
    for (path, item) in &mut document.paths.paths {
        let open = match path.as_str() {
            "/v1/in/{token}" => &mut item.post,
            DOCUMENT => &mut item.get,
            _ => continue,
        };
        if let Some(operation) = open {
            operation.security = Some(vec![SecurityRequirement::default()]);
        }
    }
}
