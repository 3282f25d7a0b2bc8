//! The headers of a request that mean the same on every listener: its key, its content type, its id.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::chance::{self, Chance};
use crate::problem::{Code, Problem};

/// Longest content type that an answer repeats, in bytes.
const LONGEST_SHOWN_TYPE: usize = 100;

/// The key of `Authorization: Bearer <key>` (RFC 6750, 2.1); none for a missing header or another scheme.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    // RFC 9110, 11.1: the scheme's name is case-insensitive.
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_ascii())
}

/// Refuses a body that its headers do not declare as JSON, and says what they declare instead.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let came = match headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) {
        None => "the header Content-Type is missing".to_owned(),
        // The text is the sender's own. A long one is none that anybody means.
        Some(Ok(kind)) if kind.len() <= LONGEST_SHOWN_TYPE => format!("Content-Type is `{kind}`"),
        Some(_) => "Content-Type cannot be read".to_owned(),
    };
    let detail = format!("{came}: send application/json, in UTF-8 and not compressed");
    Err(Problem::new(Code::UnsupportedMediaType).detail(detail))
}

/// True when the headers declare a body as `application/json` or `application/…+json`, in UTF-8 and not compressed.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let plain = text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    let mut parts = text(header::CONTENT_TYPE).unwrap_or_default().split(';');
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    let mut charsets = parts.filter_map(|part| part.trim().split_once('=')).filter(|(name, _)| {
        // Parameters other than `charset` do not change the bytes.
        name.eq_ignore_ascii_case("charset")
    });
    plain && is_json && charsets.all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// Header of the answer to a change of the configuration: `true` if it changed anything, else `false`.
pub const CHANGED: &str = "carteiro-changed";

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is accepted, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The id of a request: a usable one that it brings, otherwise a new one.
pub(super) fn request_id(headers: &HeaderMap, chance: &Chance) -> HeaderValue {
    given(headers).unwrap_or_else(|| made(chance))
}

/// The id that a proxy or client sent, if it is safe in a log line.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    headers
        .get(REQUEST_ID)
        .filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(is_plain))
        .cloned()
}

fn made(chance: &Chance) -> HeaderValue {
    let id = schemas::hex(&chance::bytes::<16>(chance));
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_key_is_one() {
        let key = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(key("Bearer k"), Some("k".into()));
        assert_eq!(key("bearer  k "), Some("k".into()));
        for other in ["Basic k", "k", "Bearer", ""] {
            assert_eq!(key(other), None, "{other:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn only_json_in_utf8_is_json() {
        let table = [
            ("application/json", true),
            ("Application/JSON; Charset=\"UTF-8\"", true),
            ("application/json;charset=utf-8;v=1", true),
            ("application/cloudevents+json", true),
            ("application/json; charset=iso-8859-1", false),
            ("application/jsonp", false),
            ("application/x-www-form-urlencoded", false),
            ("text/json", false),
            ("", false),
        ];
        for (kind, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{kind}");
            headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
            assert!(!is_json(&headers), "{kind}, compressed");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_body_that_is_no_json_is_refused_with_what_its_headers_say() {
        let detail = |kind: Option<&str>| {
            let kind = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap()));
            require_json(&HeaderMap::from_iter(kind)).map_err(|problem| problem.detail.unwrap_or_default())
        };
        assert_eq!(detail(Some("application/json")), Ok(()));
        for (kind, said) in [
            (None, "the header Content-Type is missing: send application/json"),
            (Some("application/x-www-form-urlencoded"), "Content-Type is `application/x-www-form-urlencoded`: send"),
            (Some(&*"a".repeat(101)), "Content-Type cannot be read: send"),
        ] {
            let detail = detail(kind).unwrap_err();
            assert!(detail.starts_with(said), "{detail}");
        }
    }

    #[test]
    fn an_id_is_taken_over_only_if_it_is_short_and_plain() {
        let given = |id: &str| given(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())]));
        assert_eq!(given("0190-a_B.7"), Some(HeaderValue::from_static("0190-a_B.7")));
        for refused in ["", "two words", "a=1", "\"", &"a".repeat(MAX_ID_BYTES + 1)] {
            assert_eq!(given(refused), None, "{refused}");
        }
    }

    #[test]
    fn an_id_that_is_made_could_be_taken_over() {
        let made = made(&chance::system());
        assert_eq!(made.len(), 32);
        assert_eq!(given(&HeaderMap::from_iter([(REQUEST_ID, made.clone())])), Some(made));
    }
}
