//! From what came in to what is published: all that can be refused is refused here, before anything is sent.

use broker::Target;
use bytes::Bytes;
use schemas::{
    Acceptance, Envelope, EventFacts, EventId, HeaderValue, Headers, Intake, Message, Refusal, RefusalKind, peek_id,
    routing_key, wire,
};
use store::SourceRef;

use crate::Trace;

/// What is decided about an event where it comes in.
pub(crate) struct Arrival<'a> {
    /// Whose it is.
    pub(crate) tenant: &'a str,
    /// Unix ms.
    pub(crate) now: u64,
    /// For an id, should it bring none.
    pub(crate) chance: [u8; 10],
    /// What led to it.
    pub(crate) trace: &'a Trace,
}

/// An event that only needs to be published.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) id: EventId,
    pub(crate) to: Target,
    pub(crate) message: Message,
}

impl Prepared {
    /// Of a canonical event, which is published as it is, byte for byte.
    pub(crate) fn canonical(text: Bytes, arrival: &Arrival<'_>) -> Result<Self, Refusal> {
        let id = peek_id(&text)?.unwrap_or_else(|| EventId::fresh(arrival.now, arrival.chance));
        let acceptance = Acceptance { id, accepted_at: arrival.now, tenant: arrival.tenant.to_owned() };
        let Envelope { event, id, .. } = Envelope::decode(&text, &acceptance)?;
        let facts = EventFacts::of(&event);
        let key = routing_key(arrival.tenant, &facts).ok_or_else(|| no_key(&facts))?;
        let kind = event.event_type.to_string();
        Ok(Self::new(id, kind, key, text, arrival))
    }

    /// Of a vendor's body, in the envelope that is made of it.
    pub(crate) fn vendor(from: &SourceRef, body: &[u8], arrival: &Arrival<'_>) -> Result<Self, Refusal> {
        let intake = Intake {
            tenant: arrival.tenant,
            source: &from.source.id,
            channel_id: from.source.channel_id.as_ref(),
            keep_original: from.source.keep_original,
            token: Some(from.source.token.reveal()),
            now: arrival.now,
            chance: arrival.chance,
        };
        let read = schemas::read(from.source.dialect, body, &intake)?;
        let key = read.routing_key(arrival.tenant).ok_or_else(|| no_key(&EventFacts::of(&read.event)))?;
        Ok(Self::new(read.id, read.event.event_type.to_string(), key, read.envelope.into(), arrival))
    }

    fn new(id: EventId, kind: String, key: String, body: Bytes, arrival: &Arrival<'_>) -> Self {
        let now = i64::try_from(arrival.now).unwrap_or(i64::MAX);
        let mut headers = Headers::default();
        headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
        headers.set(wire::TENANT, HeaderValue::Text(arrival.tenant.into()));
        headers.set(wire::ACCEPTED_AT, HeaderValue::Int(now));
        arrival.trace.write_to(&mut headers);
        let message = Message { id: id.to_string(), kind, headers, body };
        Self { id, to: Target::Ingest { key }, message }
    }
}

/// Why an event has no routing key.
fn no_key(facts: &EventFacts<'_>) -> Refusal {
    let (pointer, message) = match facts {
        EventFacts { channel_id: Some(""), .. } => ("/channel/id", "must not be empty"),
        EventFacts { queue_id: Some(""), .. } => ("/ticket/queue/id", "must not be empty"),
        _ => ("", "the ids of tenant, channel and queue and the type are too long together: 255 bytes are routed"),
    };
    Refusal { kind: RefusalKind::Invalid, pointer: pointer.to_owned(), message: message.to_owned() }
}
