//! The key in a request.

use axum::http::{HeaderMap, header};

/// The key of `Authorization: Bearer <key>` (RFC 6750, 2.1); none when there is no such header, or another scheme.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    // RFC 9110, 11.1: the scheme's name is case-insensitive.
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_ascii())
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
}
