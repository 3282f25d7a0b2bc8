//! Whether a body is JSON, by its headers.

use axum::http::{HeaderMap, header};

/// `application/json` or `application/…+json`, in UTF-8, not compressed.
pub fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let plain = text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    let mut parts = text(header::CONTENT_TYPE).unwrap_or_default().split(';');
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    let mut charsets = parts.filter_map(|part| part.trim().split_once('=')).filter(|(name, _)| {
        // Other parameters say nothing about the bytes.
        name.eq_ignore_ascii_case("charset")
    });
    plain && is_json && charsets.all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
