//! The closed list of problem codes, with the status and title of each.

use axum::http::StatusCode;

/// Code of a problem. The list is closed, so clients may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    MalformedJson,
    InvalidParameter,
    Unauthorized,
    Forbidden,
    /// The resource does not exist, or belongs to another tenant.
    NotFound,
    MethodNotAllowed,
    /// The resource cannot be changed now: something else owns it, or it exists already.
    Conflict,
    /// Nothing is recorded: `history.url` is `off`.
    HistoryOff,
    /// Another event was accepted, or is being accepted, under the event's id; `errors` says where.
    EventIdTaken,
    /// The event has come through too many deliveries already: it goes round in a loop.
    EventLoop,
    /// The resource was changed since the `ETag` in `If-Match`.
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    /// The body is JSON, but not a valid event; `errors` says where.
    InvalidEvent,
    /// The body has warnings, and the request asked for it to be refused then (`strict=true`); `errors` has them.
    Warned,
    /// The body is JSON, but not what the call expects; `errors` says where.
    InvalidBody,
    /// A quota of the tenant or the fan-out limit of an event is exceeded; `errors` says where.
    QuotaReached,
    /// The tenant's quota is used up for now; `Retry-After` says until when.
    TooManyRequests,
    Internal,
    /// A required service is unreachable. Nothing was changed, and the client may retry.
    Unavailable,
    /// The broker's storage is full until what waits is delivered. Nothing was changed, and the client may retry.
    StorageFull,
}

impl Code {
    pub const ALL: [Code; 21] = [
        Code::MalformedJson,
        Code::InvalidParameter,
        Code::Unauthorized,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::Conflict,
        Code::HistoryOff,
        Code::EventIdTaken,
        Code::EventLoop,
        Code::PreconditionFailed,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidEvent,
        Code::Warned,
        Code::InvalidBody,
        Code::QuotaReached,
        Code::TooManyRequests,
        Code::Internal,
        Code::Unavailable,
        Code::StorageFull,
    ];

    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::MalformedJson => {
                ("malformed_json", StatusCode::UNPROCESSABLE_ENTITY, "The body is not a JSON object")
            }
            Code::InvalidParameter => ("invalid_parameter", StatusCode::BAD_REQUEST, "A parameter cannot be read"),
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "No key, or a wrong one"),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The key does not allow this"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is no such thing"),
            Code::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "It does not do that"),
            Code::Conflict => ("conflict", StatusCode::CONFLICT, "It cannot be changed here and now"),
            Code::HistoryOff => ("history_off", StatusCode::CONFLICT, "Nothing is recorded"),
            Code::EventIdTaken => ("event_id_taken", StatusCode::CONFLICT, "Another event has this id"),
            Code::EventLoop => ("event_loop", StatusCode::UNPROCESSABLE_ENTITY, "The event goes round in a loop"),
            Code::PreconditionFailed => {
                ("precondition_failed", StatusCode::PRECONDITION_FAILED, "A precondition does not hold")
            }
            Code::PayloadTooLarge => ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Code::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type is missing, or not application/json",
            ),
            Code::InvalidEvent => ("invalid_event", StatusCode::UNPROCESSABLE_ENTITY, "The event is not valid"),
            Code::Warned => ("warned", StatusCode::UNPROCESSABLE_ENTITY, "Accepted with warnings only"),
            Code::InvalidBody => ("invalid_body", StatusCode::UNPROCESSABLE_ENTITY, "The body is not valid"),
            Code::QuotaReached => ("quota_reached", StatusCode::UNPROCESSABLE_ENTITY, "More than is allowed"),
            Code::TooManyRequests => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS, "Too many for now"),
            Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "A mistake of ours"),
            Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Something needed is away"),
            Code::StorageFull => ("storage_full", StatusCode::SERVICE_UNAVAILABLE, "There is no room for now"),
        }
    }

    /// The code's text in `code` and at the end of `type`.
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    pub fn status(self) -> StatusCode {
        self.parts().1
    }

    /// Short text, the same for all problems with this code.
    pub fn title(self) -> &'static str {
        self.parts().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn every_code_is_listed_once_and_is_an_error() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }
}
