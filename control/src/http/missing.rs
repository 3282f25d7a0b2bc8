//! What an answer 404 says: which resource of the path there is not.

use axum::{
    extract::{MatchedPath, RawPathParams, Request, rejection::RawPathParamsRejection},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use service::problem::{Code, Problem};

/// Longest id that is repeated in an answer, in bytes.
const LONGEST_SHOWN: usize = 100;

/// Adds what is missing to a 404 whose handler only knows that something is.
pub(super) async fn name(
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answer = next.run(request).await;
    let problem = answer.extensions().get::<Problem>();
    match (problem, route, path) {
        (Some(problem), Some(route), Ok(path)) if problem.code == Code::NotFound && problem.detail.is_none() => {
            let ids: Vec<_> = path.iter().collect();
            problem.clone().detail(missing(route.as_str(), &ids)).into_response()
        }
        _ => answer,
    }
}

/// What the last id of a route names, with the collection before it.
fn missing(route: &str, ids: &[(&str, &str)]) -> String {
    let mut segments = route.split('/').rev().skip_while(|segment| !segment.starts_with('{'));
    let (parameter, collection) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let parameter = parameter.trim_start_matches('{').trim_end_matches('}');
    let id = ids.iter().find(|(name, _)| *name == parameter).map_or("", |(_, id)| *id);
    let id = if id.len() <= LONGEST_SHOWN { format!(" `{id}`") } else { String::new() };
    match collection {
        "channels" => format!("the channel{id} has no webhook"),
        "queues" => format!("the queue{id} is bound to no integration"),
        "parked" => format!("there is no parked message{id}"),
        _ => format!("there is no {}{id}", collection.replace('-', " ").trim_end_matches('s')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_that_is_missing_is_named() {
        let acme = ("tenant", "acme");
        for (route, id, expected) in [
            ("/v1/tenants/{tenant}", acme, "there is no tenant `acme`"),
            ("/v1/tenants/{tenant}/usage", acme, "there is no tenant `acme`"),
            ("/v1/tenants/{tenant}/endpoints/{id}/secrets/rotate", ("id", "crm"), "there is no endpoint `crm`"),
            ("/v1/tenants/{tenant}/dead-letters/{id}", ("id", "7"), "there is no dead letter `7`"),
            (
                "/v1/tenants/{tenant}/channels/{channel_id}/webhook",
                ("channel_id", "7"),
                "the channel `7` has no webhook",
            ),
            (
                "/v1/tenants/{tenant}/queues/{queue_id}/integration",
                ("queue_id", "1"),
                "the queue `1` is bound to no integration",
            ),
            ("/v1/parked/{id}/requeue", ("id", "9"), "there is no parked message `9`"),
        ] {
            assert_eq!(missing(route, &[acme, id]), expected);
        }
        let long = "x".repeat(101);
        assert_eq!(missing("/v1/parked/{id}", &[("id", &long)]), "there is no parked message");
    }
}
