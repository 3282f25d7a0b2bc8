//! What an incoming message says of itself: whose event it is, which, and since when. Decides nothing about delivery.

use broker::Incoming;
use schemas::{Acceptance, EventId, ParkReason, tenant_of, wire};

use crate::park::Unroutable;

/// Reads the message's properties and headers. `now` is unix ms.
pub(crate) fn acceptance(incoming: &Incoming, now: u64) -> Result<Acceptance, Unroutable> {
    let message = &incoming.message;
    let identity = |detail: &str| Unroutable::new(ParkReason::Identity, detail);
    let tenant = tenant_of(&incoming.key).ok_or_else(|| identity("the routing key names no tenant"))?;
    if message.headers.text(wire::TENANT).is_some_and(|other| other != tenant) {
        return Err(identity("the header carteiro-tenant differs from the routing key"));
    }
    if message.id.is_empty() {
        return Err(identity("the property message_id is missing"));
    }
    let id = EventId::try_from(message.id.clone()).map_err(|error| identity(&format!("message_id: {error}")))?;
    let schema = message.headers.int(wire::SCHEMA);
    if schema.is_some_and(|schema| schema != wire::SCHEMA_VERSION) {
        return Err(Unroutable::new(ParkReason::Schema, "the header carteiro-schema names an unknown version"));
    }
    // A foreign producer may not know the header, or have a clock that runs ahead.
    let said = message.headers.int(wire::ACCEPTED_AT).and_then(|at| u64::try_from(at).ok());
    let accepted_at = said.filter(|at| *at <= now).unwrap_or(now);
    Ok(Acceptance { id, accepted_at, tenant })
}
