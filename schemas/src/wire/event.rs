//! The codec between an accepted event and its [`Message`] to the routers. The message's body is the event's text as
//! accepted; the decisions of the acceptance are properties and headers.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    ACCEPTED_AT, HOPS, Headers, MAX_HOPS, MAX_TRACESTATE_BYTES, Message, REVISION, SCHEMA, SCHEMA_VERSION, TENANT,
    TRACEPARENT, TRACESTATE, hops, ms,
};
use crate::{EventId, Refusal, RefusalKind, routing_key::tenant_of};

/// The decisions about an event at its acceptance, independently of its text.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// Id of the event (AMQP property `message_id`).
    pub id: EventId,
    /// Time of acceptance, in unix milliseconds.
    pub accepted_at: u64,
    pub tenant: String,
    /// Revision of the snapshot that the event was accepted with, if its producer knew one that others can compare.
    pub revision: Option<u64>,
    /// Through how many deliveries the event has come.
    pub hops: u32,
    pub trace: TraceContext,
}

/// A W3C trace context, passed on with an event and never made here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub parent: Option<String>,
    pub state: Option<String>,
}

impl Acceptance {
    /// An acceptance at a time in unix milliseconds, of an event that was no delivery before, without a trace context.
    pub fn new(id: EventId, accepted_at: u64, tenant: impl Into<String>) -> Self {
        Self { id, accepted_at, tenant: tenant.into(), revision: None, hops: 0, trace: TraceContext::default() }
    }

    /// The message of an accepted event of type `kind`, whose text is `body`.
    pub fn into_message(self, kind: String, body: Bytes) -> Message {
        let ints = [
            Some((SCHEMA, SCHEMA_VERSION)),
            Some((ACCEPTED_AT, ms(self.accepted_at))),
            self.revision.map(|revision| (REVISION, ms(revision))),
            (self.hops > 0).then_some((HOPS, i64::from(self.hops))),
        ];
        let texts = [
            Some((TENANT, self.tenant)),
            self.trace.parent.map(|parent| (TRACEPARENT, parent)),
            self.trace.state.map(|state| (TRACESTATE, state)),
        ];
        let texts = texts.into_iter().flatten().map(|(name, text)| (name, Cow::Owned(text)));
        Message { id: self.id.to_string(), kind, headers: Headers::new(ints.into_iter().flatten(), texts), body }
    }

    /// Reads the acceptance of a message with this routing key. `now`, in unix milliseconds, replaces a time of
    /// acceptance that is missing or in the future, as foreign producers may send. Fails when the event's id or tenant
    /// is missing or contradictory, the version of the headers is unknown, or the event goes round in a loop.
    pub fn from_message(routing_key: &str, message: &Message, now: u64) -> Result<Self, Refusal> {
        let refuse = |kind, message: String| Refusal { kind, pointer: String::new(), message };
        let identity = |message: &str| refuse(RefusalKind::Identity, message.to_owned());
        let tenant = tenant_of(routing_key).ok_or_else(|| identity("the routing key names no tenant"))?;
        let headers = &message.headers;
        if headers.text(TENANT).is_some_and(|other| other != tenant) {
            return Err(identity("the header carteiro-tenant differs from the routing key"));
        }
        if message.id.is_empty() {
            return Err(identity("the property message_id is missing"));
        }
        let id = EventId::try_from(message.id.clone())
            .map_err(|error| refuse(RefusalKind::Identity, format!("message_id: {error}")))?;
        if headers.int(SCHEMA).is_some_and(|schema| schema != SCHEMA_VERSION) {
            return Err(refuse(RefusalKind::Invalid, "the header carteiro-schema names an unknown version".to_owned()));
        }
        let hops = hops(headers);
        if hops > MAX_HOPS {
            let message = format!("the header carteiro-hops is above {MAX_HOPS}: the event goes round in a loop");
            return Err(refuse(RefusalKind::Invalid, message));
        }
        let accepted_at = headers.int(ACCEPTED_AT).and_then(|at| u64::try_from(at).ok()).filter(|at| *at <= now);
        let revision = headers.int(REVISION).and_then(|revision| u64::try_from(revision).ok());
        let text = |name| headers.text(name).map(str::to_owned);
        let trace = TraceContext { parent: text(TRACEPARENT), state: text(TRACESTATE) };
        Ok(Self { id, accepted_at: accepted_at.unwrap_or(now), tenant, revision, hops, trace })
    }
}

/// The headers that an event may have, with which a parked event can be published again. Texts of more than 512 bytes
/// are dropped, because foreign producers choose their length.
pub fn event_headers(headers: &Headers) -> Headers {
    let ints = [SCHEMA, ACCEPTED_AT, REVISION, HOPS].into_iter().filter_map(|name| Some((name, headers.int(name)?)));
    let texts = [TENANT, TRACEPARENT, TRACESTATE].into_iter();
    let texts = texts.filter_map(|name| Some((name, headers.text(name)?)));
    let texts = texts.filter(|(_, text)| text.len() <= MAX_TRACESTATE_BYTES);
    Headers::new(ints, texts.map(|(name, text)| (name, text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HeaderValue;

    const NOW: u64 = 1_790_000_000_000;

    fn acceptance() -> Acceptance {
        let trace = TraceContext { parent: Some("00-1-2-01".into()), state: Some("a=b".into()) };
        Acceptance {
            trace,
            revision: Some(7),
            hops: 2,
            ..Acceptance::new(EventId::try_from("E-1".to_owned()).unwrap(), NOW - 5, "acme")
        }
    }

    fn message() -> Message {
        acceptance().into_message("a.b".into(), Bytes::from_static(b"{}"))
    }

    #[test]
    fn an_acceptance_survives_its_message() {
        let read = Acceptance::from_message("acme.7.-.a.b", &message(), NOW).unwrap();
        assert_eq!((read.id.as_str(), read.accepted_at, read.tenant.as_str()), ("E-1", NOW - 5, "acme"));
        assert_eq!((read.trace, read.revision, read.hops), (acceptance().trace, Some(7), 2));
        assert_eq!(event_headers(&message().headers), message().headers, "all of its headers are an event's");
    }

    #[test]
    fn a_time_of_acceptance_ahead_of_the_clock_is_now() {
        assert_eq!(Acceptance::from_message("acme.7.-.a.b", &message(), NOW - 9).unwrap().accepted_at, NOW - 9);
    }

    #[test]
    fn a_message_that_contradicts_its_key_or_has_no_id_or_an_unknown_version_is_refused() {
        let kind = |key: &str, change: &dyn Fn(&mut Message)| {
            let mut message = message();
            change(&mut message);
            Acceptance::from_message(key, &message, NOW).unwrap_err().kind
        };
        assert_eq!(kind("nonsense", &|_| ()), RefusalKind::Identity);
        assert_eq!(kind("beta.7.-.a.b", &|_| ()), RefusalKind::Identity);
        for id in ["", "not an id"] {
            assert_eq!(kind("acme.7.-.a.b", &|message| message.id = id.into()), RefusalKind::Identity);
        }
        let later = |message: &mut Message| message.headers.set(SCHEMA, HeaderValue::Int(2));
        assert_eq!(kind("acme.7.-.a.b", &later), RefusalKind::Invalid);
    }

    #[test]
    fn an_event_that_has_come_through_too_many_deliveries_is_refused_and_unreadable_hops_are_none() {
        let read = |hops: Option<HeaderValue>| {
            let mut message = message();
            message.headers.remove(HOPS);
            if let Some(hops) = hops {
                message.headers.set(HOPS, hops);
            }
            Acceptance::from_message("acme.7.-.a.b", &message, NOW)
                .map(|read| read.hops)
                .map_err(|refusal| refusal.kind)
        };
        for none in [None, Some(HeaderValue::Int(i64::MIN)), Some(HeaderValue::Text("9".into()))] {
            assert_eq!(read(none), Ok(0));
        }
        assert_eq!(read(Some(HeaderValue::Int(3))), Ok(3));
        for many in [4, i64::from(u32::MAX) + 1, i64::MAX] {
            assert_eq!(read(Some(HeaderValue::Int(many))), Err(RefusalKind::Invalid), "{many}");
        }
    }

    #[test]
    fn only_an_events_headers_are_kept_and_none_that_is_long() {
        let mut headers = message().headers;
        headers.set("x-foreign", HeaderValue::Text("x".into()));
        headers.set(TRACESTATE, HeaderValue::Text("x".repeat(513).into()));
        let kept = event_headers(&headers);
        let kept: Vec<_> = kept.iter().map(|(name, _)| name).collect();
        assert_eq!(kept, [SCHEMA, ACCEPTED_AT, REVISION, HOPS, TENANT, TRACEPARENT]);
    }
}
