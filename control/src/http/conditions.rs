//! Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8 and 13.1).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use service::problem::{Code, Problem};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<EntityTags>,
    if_none_match: Option<EntityTags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum EntityTags {
    /// `*` matches any version, as long as the resource exists.
    Any,
    These(Vec<String>),
}

/// The current version of a resource. The outer none means that there is no such resource. The inner none means that
/// its version is unknown, as in a `file:` store.
pub(crate) type CurrentVersion = Option<Option<u64>>;

pub(crate) fn entity_tag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

impl Conditions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { if_match: tags(headers, &header::IF_MATCH), if_none_match: tags(headers, &header::IF_NONE_MATCH) }
    }

    /// Checks the conditions against the current version.
    ///
    /// # Errors
    /// 412 when one of them does not hold.
    pub(crate) fn check(&self, current: CurrentVersion) -> Result<(), Problem> {
        let refuse = |why: &str| Err(Problem::new(Code::PreconditionFailed).detail(why));
        match (&self.if_match, &self.if_none_match) {
            (Some(tags), _) if !tags.have(current) => refuse(match current {
                None => "it does not exist, and If-Match allows only a change of what exists",
                Some(_) => "it has another version than If-Match names: read it again, and send its ETag",
            }),
            (_, Some(EntityTags::Any)) if current.is_some() => {
                refuse("it exists already, and If-None-Match: * allows only a new one")
            }
            (_, Some(tags)) if tags.have(current) => refuse("it still has the version that If-None-Match names"),
            _ => Ok(()),
        }
    }
}

impl EntityTags {
    fn have(&self, current: CurrentVersion) -> bool {
        match (self, current) {
            (_, None) | (Self::These(_), Some(None)) => false,
            (Self::Any, Some(_)) => true,
            (Self::These(tags), Some(Some(version))) => tags.contains(&format!("\"{version}\"")),
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<EntityTags> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    // Weak tags and malformed tags stay in the list and match no version.
    let texts: Vec<_> =
        lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim).collect();
    if texts == ["*"] {
        Some(EntityTags::Any)
    } else {
        Some(EntityTags::These(texts.into_iter().map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(name: &'static str, value: &'static str, current: CurrentVersion) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Conditions::of(&headers).check(current).is_ok()
    }

    #[test]
    fn conditions_hold_as_rfc_9110_says() {
        let (gone, third, unknown) = (None, Some(Some(3)), Some(None));
        for (name, value, expected) in [
            ("if-match", "*", [false, true, true]),
            ("if-match", "\"3\"", [false, true, false]),
            ("if-match", "\"2\", \"3\"", [false, true, false]),
            ("if-match", "W/\"3\"", [false, false, false]),
            ("if-match", "3", [false, false, false]),
            ("if-none-match", "*", [true, false, false]),
            ("if-none-match", "\"3\"", [true, false, true]),
        ] {
            assert_eq!([gone, third, unknown].map(|current| holds(name, value, current)), expected, "{name}: {value}");
        }
        assert!(Conditions::default().check(gone).is_ok());
        assert_eq!(entity_tag(3), "\"3\"");
    }
}
