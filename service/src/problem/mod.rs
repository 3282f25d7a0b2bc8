//! Errors of the HTTP API: `application/problem+json` (RFC 9457), with a closed list of codes.

mod code;
mod openapi;

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemas::Warning;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use code::Code;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub pointer: String,
    /// Description without the value, which may be a secret.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub detail: Option<String>,
    pub errors: Vec<FieldError>,
    /// Wait before a retry, sent in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), retry_after: None }
    }

    /// Refuses what would be accepted with these warnings, because the request has `strict=true`.
    pub fn warned(warnings: &[Warning]) -> Self {
        let problem = Self::new(Code::Warned).detail("strict=true refuses what has warnings; nothing was changed");
        warnings.iter().fold(problem, |problem, warning| problem.error(&warning.pointer, &warning.message))
    }

    /// Describes this occurrence, without secrets and endpoints' URLs.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    #[must_use]
    pub fn error(mut self, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), message: message.into() });
        self
    }

    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Problem", 6)?;
        body.serialize_field("type", &format!("urn:carteiro:problem:{}", self.code.as_str()))?;
        body.serialize_field("title", self.code.title())?;
        body.serialize_field("status", &self.code.status().as_u16())?;
        if let Some(detail) = &self.detail {
            body.serialize_field("detail", detail)?;
        }
        body.serialize_field("code", self.code.as_str())?;
        if !self.errors.is_empty() {
            body.serialize_field("errors", &self.errors)?;
        }
        body.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthorized {
            // RFC 9110, 11.6.1: a 401 "MUST send a WWW-Authenticate header field".
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // A layer that knows more than the handler may add to it.
        response.extensions_mut().insert(self);
        response
    }
}

// Rejections of axum's extractors: a handler takes `Result<Json<T>, JsonRejection>` and uses `?`.

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match &rejection {
            JsonRejection::JsonSyntaxError(_) => Code::MalformedJson,
            JsonRejection::JsonDataError(_) => Code::InvalidBody,
            JsonRejection::MissingJsonContentType(_) => Code::UnsupportedMediaType,
            other => code_of_status(other.status()),
        };
        Self::new(code).detail(rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(code_of_status(rejection.status())).detail(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::InvalidParameter).detail(rejection.body_text())
    }
}

/// The code for a body that could not be read: it is too large, or was cut off.
fn code_of_status(status: StatusCode) -> Code {
    if status == StatusCode::PAYLOAD_TOO_LARGE { Code::PayloadTooLarge } else { Code::MalformedJson }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::new(Code::InvalidEvent)
            .detail("1 of 4 events")
            .error("/events/3/ticket/id", "must be text or a number");
        let expected = concat!(
            r#"{"type":"urn:carteiro:problem:invalid_event","title":"The event is not valid","status":422,"#,
            r#""detail":"1 of 4 events","code":"invalid_event","#,
            r#""errors":[{"pointer":"/events/3/ticket/id","message":"must be text or a number"}]}"#
        );
        assert_eq!(serde_json::to_string(&problem).unwrap(), expected);
        assert_eq!(problem.into_response().headers()["content-type"], "application/problem+json");
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        let response = Problem::new(Code::TooManyRequests).retry_after(Duration::from_millis(1_001)).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &HeaderValue::from(2)));
    }

    #[test]
    fn an_unauthorized_answer_names_the_scheme() {
        assert_eq!(Problem::new(Code::Unauthorized).into_response().headers()["www-authenticate"], "Bearer");
    }
}
