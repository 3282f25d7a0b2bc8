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
    /// Reads the conditions of a request.
    ///
    /// # Errors
    /// 400 when one of them is no list of entity tags. A version without its quotation marks would otherwise be a condition
    /// that never holds, or that always does.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let [if_match, if_none_match] = [header::IF_MATCH, header::IF_NONE_MATCH].map(|name| tags(headers, &name));
        Ok(Self { if_match: if_match?, if_none_match: if_none_match? })
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

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<EntityTags>, Problem> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    match lines.as_slice() {
        [] => Ok(None),
        [line] if line.trim_ascii() == b"*" => Ok(Some(EntityTags::Any)),
        lines => {
            let tags: Option<Vec<_>> = lines.iter().map(|line| listed_tags(line)).collect();
            let tags = tags.map(|tags| EntityTags::These(tags.concat()));
            let wrong = || format!("{name}: expected an ETag with its quotation marks, several of them, or *");
            tags.map(Some).ok_or_else(|| Problem::new(Code::InvalidParameter).detail(wrong()))
        }
    }
}

/// Splits a list of entity tags. None when it is empty, or something else. A weak tag is kept as it is, and so matches no
/// version.
fn listed_tags(line: &[u8]) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let mut rest = line.trim_ascii();
    loop {
        let opened = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
        let end = opened.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        let after = opened[end..].strip_prefix(b"\"")?;
        tags.push(String::from_utf8_lossy(&rest[..rest.len() - after.len()]).into_owned());
        match after.trim_ascii_start() {
            [] => return Some(tags),
            after => rest = after.strip_prefix(b",")?.trim_ascii_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(name: &'static str, value: &'static str, current: CurrentVersion) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Conditions::of(&headers).is_ok_and(|conditions| conditions.check(current).is_ok())
    }

    #[test]
    fn a_condition_that_is_no_list_of_entity_tags_is_refused() {
        for wrong in ["3", "\"3", "", ",", "\"3\" \"4\"", "\"3\",", "w/\"3\"", "*, \"3\"", "\"a\"b\""] {
            for name in ["if-match", "if-none-match"] {
                let mut headers = HeaderMap::new();
                headers.insert(name, HeaderValue::from_static(wrong));
                let refused = Conditions::of(&headers).unwrap_err();
                assert_eq!(refused.code, Code::InvalidParameter, "{name}: {wrong}");
                assert!(refused.detail.is_some_and(|detail| detail.starts_with(name)), "{name}: {wrong}");
            }
        }
    }

    #[test]
    fn conditions_hold_as_rfc_9110_says() {
        let (gone, third, unknown) = (None, Some(Some(3)), Some(None));
        for (name, value, expected) in [
            ("if-match", "*", [false, true, true]),
            ("if-match", "\"3\"", [false, true, false]),
            ("if-match", "\"2\", \"3\"", [false, true, false]),
            ("if-match", "W/\"3\"", [false, false, false]),
            ("if-match", "\"a,b\" ,W/\"\",\"3\"", [false, true, false]),
            ("if-none-match", "*", [true, false, false]),
            ("if-none-match", "\"3\"", [true, false, true]),
        ] {
            assert_eq!([gone, third, unknown].map(|current| holds(name, value, current)), expected, "{name}: {value}");
        }
        assert!(Conditions::default().check(gone).is_ok());
        assert_eq!(entity_tag(3), "\"3\"");
    }
}
