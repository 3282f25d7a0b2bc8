//! Prepares received events for publishing. All refusals happen here, before the first publish.

use broker::Target;
use bytes::Bytes;
use schemas::{
    Acceptance, EventFacts, EventId, Message, Refusal, RefusalKind, SourceContext, SubmittedEvent, Warning, routing_key,
};
use service::{Chance, chance};
use store::SourceRef;

use crate::EventOrigin;

/// The decisions about an event at its arrival, independently of its text.
pub(crate) struct IntakeContext<'a> {
    pub(crate) tenant: &'a str,
    /// Time of acceptance, in unix milliseconds.
    pub(crate) now: u64,
    /// Revision of the snapshot, if other processes can compare it.
    pub(crate) revision: Option<u64>,
    /// Makes the id of an event without one.
    pub(crate) chance: &'a Chance,
    pub(crate) origin: &'a EventOrigin,
}

#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) id: EventId,
    pub(crate) to: Target,
    pub(crate) message: Message,
    pub(crate) warnings: Vec<Warning>,
}

impl Prepared {
    /// Prepares a canonical event, which is published byte for byte.
    pub(crate) fn canonical(
        text: Bytes,
        submitted: SubmittedEvent,
        context: &IntakeContext<'_>,
    ) -> Result<Self, Refusal> {
        let SubmittedEvent { id, event, warnings } = submitted;
        let id = id.unwrap_or_else(|| EventId::fresh(context.now, chance::bytes(context.chance)));
        let facts = EventFacts::of(&event);
        let key = routing_key(context.tenant, &facts).ok_or_else(|| unroutable(&facts))?;
        Ok(Self::new(context.accept(id), event.event_type.into(), key, text).with(warnings))
    }

    /// Prepares the event in a vendor's body.
    pub(crate) fn vendor(from: &SourceRef, body: &[u8], context: &IntakeContext<'_>) -> Result<Self, Refusal> {
        let tokens: Vec<_> = from.source.tokens().map(|(token, _)| token.reveal()).collect();
        let source = SourceContext {
            tenant: context.tenant,
            source: &from.source.id,
            channel_id: from.source.channel_id.as_ref(),
            keep_original: from.source.keep_original,
            tokens: &tokens,
            now: context.now,
            chance: chance::bytes(context.chance),
        };
        let read = schemas::read(from.source.dialect, body, &source)?;
        let key = read.routing_key(context.tenant).ok_or_else(|| unroutable(&EventFacts::of(&read.event)))?;
        let kind = read.event.event_type.to_string();
        Ok(Self::new(context.accept(read.id), kind, key, read.envelope.into()).with(read.warnings))
    }

    fn new(acceptance: Acceptance, kind: String, key: String, body: Bytes) -> Self {
        let id = acceptance.id.clone();
        Self { id, to: Target::Ingest { key }, message: acceptance.into_message(kind, body), warnings: Vec::new() }
    }

    fn with(self, warnings: Vec<Warning>) -> Self {
        Self { warnings, ..self }
    }

    /// Puts the places of warnings below the pointer to the event.
    pub(crate) fn within(mut self, pointer: &str) -> Self {
        if pointer.is_empty() {
            return self;
        }
        self.warnings = self.warnings.into_iter().map(|warning| warning.within(pointer)).collect();
        self
    }
}

impl IntakeContext<'_> {
    fn accept(&self, id: EventId) -> Acceptance {
        let EventOrigin { hops, trace } = self.origin.clone();
        Acceptance { id, accepted_at: self.now, tenant: self.tenant.to_owned(), revision: self.revision, hops, trace }
    }
}

/// Explains why an event has no routing key.
fn unroutable(facts: &EventFacts<'_>) -> Refusal {
    let (pointer, message) = match facts {
        EventFacts { channel_id: Some(""), .. } => ("/channel/id", "must not be empty"),
        EventFacts { queue_id: Some(""), .. } => ("/ticket/queue/id", "must not be empty"),
        _ => ("", "the ids of tenant, channel and queue and the type are too long together: 255 bytes are routed"),
    };
    Refusal { kind: RefusalKind::Invalid, pointer: pointer.to_owned(), message: message.to_owned() }
}
