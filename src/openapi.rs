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
use schemas::pattern;
use serde_json::Value;
use service::openapi::{ApiRouter, Description, describe, get_with};
use utoipa::openapi::{
    Info, PathItem, RefOr, ServerBuilder, Tag,
    path::ParameterIn,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use crate::VERSION;

pub const DOCUMENT: &str = "/v1/openapi.json";
pub const PAGE: &str = "/docs";
const SCRIPT: &str = "/docs/redoc.standalone.js";
const SCHEME: &str = "key";

/// Redoc 2.5.4 from npm, with its license beside it.
const REDOC: &str = include_str!("openapi/redoc/redoc.standalone.js");
const PAGE_TEXT: &str = include_str!("openapi/redoc/page.html");
/// What a browser may load for the page: only what this process serves.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src blob:; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const DESCRIPTION: &str = "carteiro takes ticket and message events in, and delivers each of them to every endpoint that \
    subscribed to it: at least once, and with everything that it could not deliver kept and replayable.\n\n\
    **Keys.** Every call shows a key as `Authorization: Bearer <key>`: the operator's, or one of a tenant with the scope that \
    the call names.\n\n\
    **Problems.** Errors are problems of RFC 9457 with a closed list of codes; `errors` names each wrong field by its JSON \
    pointer. 429 and 503 say in `Retry-After` when to try again.\n\n\
    **Requests.** Every answer has an `x-request-id`, the request's own if it came with one, by which the operator finds it in \
    the log.\n\n\
    **Lists** come in pages: pass `next` as `cursor` until it is null.\n\n\
    **Versions.** What is configured has a version, its `ETag`. With `If-Match`, a change is made only if nobody else has \
    made one in the meantime. `carteiro-changed` says whether a call changed anything.\n\n\
    **Secrets** are shown once, when they are made, and masked as `***` from then on. A body that leaves a secret out keeps \
    it, null removes it, and a mask that is written back is refused.";

const TAGS: [(&str, &str); 16] = [
    ("events", "Publish events, and ask what one would do."),
    ("channels", "The webhook of a channel: a URL, and what is sent to it."),
    ("integrations", "URLs that queues are bound to."),
    ("endpoints", "URLs that deliveries are posted to."),
    ("subscriptions", "Which events an endpoint gets."),
    ("sources", "URLs that take vendors' webhooks in."),
    ("keys", "Keys with which a tenant's programs use this API."),
    ("history", "What happened to events and deliveries, and sending them again."),
    ("dead letters", "Deliveries that ended without success, and their replays."),
    ("status", "Whether all is well."),
    ("usage", "What a tenant used, by day."),
    ("audit", "Who changed what, and when."),
    ("tenants", "The operator's customers, and their quotas."),
    ("configuration", "Everything that is configured, at once."),
    ("parked", "Messages that carteiro itself could not process."),
    ("description", "This description of the API."),
];

/// The parameters of paths, as the end of the path up to them: pattern, and what has this id.
const PARTS: [(&str, &str, &str); 14] = [
    ("tenants/{tenant}", pattern::ID, "tenant"),
    ("endpoints/{id}", pattern::ID_OR_VIEW, "endpoint"),
    ("subscriptions/{id}", pattern::ID_OR_VIEW, "subscription"),
    ("sources/{id}", pattern::ID, "source"),
    ("keys/{id}", pattern::ID, "key"),
    ("channels/{channel_id}", ANY, "channel on its platform"),
    ("queues/{queue_id}", ANY, "queue on its platform"),
    ("integrations/{id}", ANY, "integration"),
    ("deliveries/{id}", ANY, "delivery"),
    ("events/{id}", ANY, "event"),
    ("dead-letters/{id}", pattern::POSITION, "dead letter"),
    ("replays/{id}", ANY, "replay"),
    ("parked/{id}", pattern::POSITION, "parked message"),
    ("in/{token}", pattern::TOKEN, "source: its token"),
];
const ANY: &str = "^.+$";

/// The document of all roles, which each process serves whatever its own roles are.
pub fn document() -> Value {
    let mut description = Description::default();
    description.merge(producer::describe());
    description.merge(control::describe());
    description.merge(api().into_parts().1);
    let document = &mut description.document;
    document.info = Info::new("carteiro", VERSION);
    document.info.description = Some(DESCRIPTION.to_owned());
    let server = ServerBuilder::new().url("/").description(Some("The address that serves this document."));
    document.servers = Some(vec![server.build()]);
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
            let op = describe::call(op, "description", "getOpenApi", "Show this document", "Needs no key.");
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
    for (at, _) in path.match_indices('}') {
        let until = &path[..=at];
        let Some(name) = until.rsplit_once('{').map(|(_, name)| name.trim_end_matches('}')) else { continue };
        let known = PARTS.iter().find(|(end, ..)| until.ends_with(end));
        let (pattern, owner) = known.map_or((ANY, "resource"), |(_, pattern, owner)| (*pattern, *owner));
        let about = format!("Id of the {owner}.");
        let parameter = describe::parameter_in(
            ParameterIn::Path,
            name,
            &about,
            json_schema!({"type": "string", "pattern": pattern}),
        );
        item.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
}

/// Requires a key for every call, except for vendors' webhooks, whose path has a token, and for this document.
fn protect(document: &mut utoipa::openapi::OpenApi) {
    let about = "The operator's key, or a key of the tenant with the scope that the call names.";
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
