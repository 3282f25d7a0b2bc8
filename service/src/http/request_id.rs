//! A name for each request, in its answer and on every line that is logged while it is answered: who has one finds the
//! other. It says nothing of events, which have ids of their own.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::chance::{self, Chance};

/// The customary header, in the request and in the answer.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// A given id may be so long.
const LONGEST: usize = 64;

/// Answers in a span that has the request's id: the one it came with, if that is one, else a new one.
pub(super) async fn identify(State(chance): State<Chance>, request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| made(&chance));
    // `given` and `made` give ASCII only.
    let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
    let mut answer = next.run(request).instrument(span).await;
    answer.headers_mut().insert(HEADER, id);
    answer
}

/// What a proxy or a client gave, unless it could be mistaken for anything else in a log line.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    headers.get(HEADER).filter(|id| (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(is_plain)).cloned()
}

fn made(chance: &Chance) -> HeaderValue {
    let id = chance::hex(&chance::bytes::<16>(chance));
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_only_if_it_is_short_and_plain() {
        let given = |id: &str| given(&HeaderMap::from_iter([(HEADER, HeaderValue::from_str(id).unwrap())]));
        assert_eq!(given("0190-a_B.7"), Some(HeaderValue::from_static("0190-a_B.7")));
        for refused in ["", "two words", "a=1", "\"", &"a".repeat(LONGEST + 1)] {
            assert_eq!(given(refused), None, "{refused}");
        }
    }

    #[test]
    fn an_id_that_is_made_could_be_taken_over() {
        let made = made(&chance::system());
        assert_eq!(made.len(), 32);
        assert_eq!(given(&HeaderMap::from_iter([(HEADER, made.clone())])), Some(made));
    }
}
