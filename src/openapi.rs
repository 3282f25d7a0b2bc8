//! The OpenAPI document of the whole API, made from the routes of all roles, and its page. The page works offline,
//! because its script is in the binary.

#[cfg(test)]
mod isolation;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use aide::{
    openapi::{
        Components, Info, OpenApi, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathItem, PathStyle,
        ReferenceOr, SchemaObject, SecurityScheme, Tag,
    },
    redoc::Redoc,
};
use axum::{
    Router,
    http::header,
    response::{Html, IntoResponse as _, Response},
    routing::get,
};

use crate::VERSION;

const DOCUMENT: &str = "/v1/openapi.json";
const PAGE: &str = "/docs";
const SCHEME: &str = "key";

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

pub fn document() -> OpenApi {
    let mut document = OpenApi {
        info: Info {
            title: "carteiro".to_owned(),
            version: VERSION.to_owned(),
            description: Some(DESCRIPTION.to_owned()),
            ..Info::default()
        },
        tags: TAGS.iter().map(|(name, about)| tag(name, about)).collect(),
        components: Some(Components::default()),
        ..OpenApi::default()
    };
    producer::describe(&mut document);
    control::describe(&mut document);
    describe_self(&mut document);
    for (path, item) in document.paths.iter_mut().flat_map(|paths| &mut paths.paths) {
        if let ReferenceOr::Item(item) = item {
            name_parts(path, item);
        }
    }
    protect(&mut document);
    document
}

fn tag(name: &str, about: &str) -> Tag {
    Tag { name: name.to_owned(), description: Some(about.to_owned()), ..Tag::default() }
}

pub fn routes() -> Router {
    Router::new().route(DOCUMENT, get(serve_document)).route(PAGE, get(serve_page))
}

async fn serve_document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| serde_json::to_string(&document()).unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

async fn serve_page() -> Html<&'static str> {
    static TEXT: LazyLock<String> = LazyLock::new(|| Redoc::new(DOCUMENT).with_title("carteiro").html());
    Html(TEXT.as_str())
}

fn describe_self(document: &mut OpenApi) {
    let mut operation = Operation {
        tags: vec!["description".to_owned()],
        operation_id: Some("getOpenApi".to_owned()),
        summary: Some("This document".to_owned()),
        security: vec![Default::default()],
        ..Operation::default()
    };
    let content = [("application/json".to_owned(), Default::default())].into_iter().collect();
    let response = aide::openapi::Response { description: "OpenAPI 3.1.".to_owned(), content, ..Default::default() };
    let responses = operation.responses.get_or_insert_default();
    responses.responses.insert(aide::openapi::StatusCode::Code(200), ReferenceOr::Item(response));
    let item = PathItem { get: Some(operation), ..PathItem::default() };
    document.paths.get_or_insert_default().paths.insert(DOCUMENT.to_owned(), ReferenceOr::Item(item));
}

/// Describes the parameters of a path, which are required texts.
fn name_parts(path: &str, item: &mut PathItem) {
    for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let known = PARTS.iter().find(|(name, _)| *name == part).or(PARTS.last());
        let schema = SchemaObject {
            json_schema: schemars::json_schema!({"type": "string"}),
            example: None,
            external_docs: None,
        };
        let parameter_data = ParameterData {
            name: part.to_owned(),
            description: known.map(|(_, about)| (*about).to_owned()),
            required: true,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(schema),
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        };
        item.parameters.push(ReferenceOr::Item(Parameter::Path { parameter_data, style: PathStyle::Simple }));
    }
}

/// Requires a key for every call, except for vendors' webhooks, whose path has a token, and for this document.
fn protect(document: &mut OpenApi) {
    let scheme = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: None,
        description: Some("The operator's key, or a tenant's with the scopes that the call needs.".to_owned()),
        extensions: Default::default(),
    };
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(SCHEME.to_owned(), ReferenceOr::Item(scheme));
    document.security = vec![[(SCHEME.to_owned(), Vec::new())].into_iter().collect()];
    let webhooks = document.paths.as_mut().and_then(|paths| paths.paths.get_mut("/v1/in/{token}"));
    if let Some(ReferenceOr::Item(PathItem { post: Some(operation), .. })) = webhooks {
        operation.security = vec![Default::default()];
    }
}
