//! What axum's extractors refuse, as problems. A handler takes `Result<Json<T>, JsonRejection>` and uses `?`.

use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::http::StatusCode;

use super::{Code, Problem};

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

/// A body that could not be read: too large, or broken off.
fn code_of_status(status: StatusCode) -> Code {
    if status == StatusCode::PAYLOAD_TOO_LARGE { Code::PayloadTooLarge } else { Code::MalformedJson }
}
