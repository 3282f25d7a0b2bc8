//! What the API refused: a problem (RFC 9457), in one line, or place by place.

use serde::Deserialize;

/// A refusal.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {}", self.words())]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) problem: Problem,
}

/// Its body, as far as people are told.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<At>,
}

/// One place of what was sent.
#[derive(Debug, Deserialize)]
pub(super) struct At {
    pub(super) pointer: String,
    pub(super) message: String,
}

impl Refused {
    /// An answer that is no success.
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, problem: serde_json::from_slice(body).unwrap_or_default() }
    }

    /// The places say more than how many there are.
    fn words(&self) -> String {
        let Problem { title, detail, errors } = &self.problem;
        match errors.as_slice() {
            [] => detail.as_ref().or(title.as_ref()).map_or("no more was said", String::as_str).to_owned(),
            errors => errors.iter().map(At::in_words).collect::<Vec<_>>().join("; "),
        }
    }
}

impl At {
    fn in_words(&self) -> String {
        if self.pointer.is_empty() { self.message.clone() } else { format!("{}: {}", self.pointer, self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_where_else_what_else_that() {
        let said = |body: &str| Refused::new(422, body.as_bytes()).to_string();
        let errors = r#""errors":[{"pointer":"/url","message":"is required"},{"pointer":"","message":"no"}]"#;
        assert_eq!(said(&format!(r#"{{"title":"T","detail":"D",{errors}}}"#)), "422: /url: is required; no");
        assert_eq!(said(r#"{"title":"T","detail":"D"}"#), "422: D");
        assert_eq!(said(r#"{"title":"T"}"#), "422: T");
        assert_eq!(said("<html>"), "422: no more was said");
    }
}
