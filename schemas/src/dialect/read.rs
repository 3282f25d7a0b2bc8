//! Reads a vendor's body as a canonical event. Only a body that is not JSON is refused. A body of an unknown kind
//! becomes `vendor.unknown`, which carries its original and is delivered only to endpoints of format `original`.

use super::{Dialect, boticario, fields::Fields, whaticket, whazing};
use crate::{
    ChannelId, Event, EventFacts, EventId, EventType, Id, MASK, MAX_DEPTH, Refusal, Warning, WarningCode,
    json_text::Scanner, routing_key,
};

/// Data about a vendor's body that is known when it arrives, independently of its text.
#[derive(Clone, Copy, Debug)]
pub struct SourceContext<'a> {
    pub tenant: &'a str,
    pub source: &'a str,
    /// Channel for a body without one.
    pub channel_id: Option<&'a ChannelId>,
    pub keep_original: bool,
    /// Secret parts of the URLs that may have received the body: the source's tokens. Whaticket's bodies echo that URL, and
    /// no rendered format may pass a secret on.
    pub tokens: &'a [&'a str],
    /// Time of arrival, in unix milliseconds.
    pub now: u64,
    /// Random bytes for the id of a body that does not identify itself.
    pub chance: [u8; 10],
}

/// The canonical event that a vendor's body reports, ready to be published.
#[derive(Debug)]
pub struct VendorEvent {
    /// Id of the event. A body that identifies itself determines the id, so that the vendor's retry is the same event.
    pub id: EventId,
    pub event: Event,
    /// The event and its `original` as JSON, ready to be published.
    pub envelope: String,
    /// One warning when the body is read as `vendor.unknown`.
    pub warnings: Vec<Warning>,
}

impl VendorEvent {
    pub fn routing_key(&self, tenant: &str) -> Option<String> {
        routing_key(tenant, &EventFacts::of(&self.event))
    }
}

/// Deepest nesting of a body. The event holds opaque parts of the body one level deeper; a few levels more are a
/// reserve.
const MAX_BODY_DEPTH: usize = MAX_DEPTH - 8;

/// Reads a vendor's body. Fails when it is not JSON.
pub fn read(dialect: Dialect, body: &[u8], at: &SourceContext<'_>) -> Result<VendorEvent, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::malformed(format!("not UTF-8: {error}")))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| Refusal::malformed(format!("not JSON: {error}")))?;
    let fields = Fields::of(text).filter(|_| depth(text) <= MAX_BODY_DEPTH);
    let id = match &fields {
        Some(fields) if identifies_itself(fields) => EventId::of_body(at.tenant, at.source, body),
        _ => EventId::fresh(at.now, at.chance),
    };
    let known = fields.as_ref().and_then(|fields| known(dialect, fields, &id));
    let warnings = if known.is_some() { vec![] } else { vec![unknown(dialect, fields.as_ref(), &id)] };
    let mut event = known.unwrap_or_else(|| Event::new(EventType::VENDOR_UNKNOWN));
    complete(&mut event, dialect, &id, at);
    event.source.event = event.source.event.or_else(|| fields.as_ref().and_then(kind));
    let keeps_original = at.keep_original || event.event_type == EventType::VENDOR_UNKNOWN;
    let envelope = envelope(&event, keeps_original.then_some(text));
    Ok(VendorEvent { id, event, envelope, warnings })
}

/// The event in a body; none when the dialect does not know its kind.
fn known(dialect: Dialect, body: &Fields<'_>, id: &EventId) -> Option<Event> {
    match dialect {
        Dialect::Whazing => whazing::read(body),
        Dialect::Whaticket => whaticket::read(body, id),
        Dialect::Boticario => boticario::read(body),
    }
}

/// The warning about a body of an unknown kind. It names the dialect that knows the body, if one does.
fn unknown(dialect: Dialect, body: Option<&Fields<'_>>, id: &EventId) -> Warning {
    let knows = |other: &Dialect| body.is_some_and(|body| known(*other, body, id).is_some());
    let name = dialect.as_str();
    let message = match Dialect::ALL.into_iter().find(knows) {
        Some(other) => format!("{name} has no such body, but {} has: is the dialect right?", other.as_str()),
        None => format!("{name} has no such body: only endpoints of format original get it, as vendor.unknown"),
    };
    Warning::new(WarningCode::UnknownBody, "", message)
}

fn depth(text: &str) -> usize {
    let mut scanner = Scanner::new(text);
    while scanner.element().is_some() {}
    scanner.deepest()
}

/// True when an equal body is the same event. The list is closed, because the times of tags do not identify a body.
fn identifies_itself(body: &Fields<'_>) -> bool {
    let has = |fields: Option<Fields<'_>>, name: &str| {
        fields.and_then(|fields| fields.text(name)).is_some_and(|text| !text.is_empty())
    };
    let is_test = body.text("event").as_deref() == Some("test");
    body.text("messageId").is_some_and(|id| !id.is_empty())
        || has(body.object("message"), "messageId")
        || has(body.object("ticketData"), "updatedAt")
        || (is_test && body.text("timestamp").is_some())
}

/// Sets the fields that all dialects have in common. A time that the body does not tell stays out, as in any event: it
/// is the time of acceptance, and a repeated body makes the same envelope.
fn complete(event: &mut Event, dialect: Dialect, id: &EventId, at: &SourceContext<'_>) {
    event.id = Some(id.to_string());
    event.source.platform = dialect.as_str().to_owned();
    event.tenant.id.get_or_insert_with(|| Id::from_text(at.tenant));
    if event.channel.id.is_none() {
        event.channel.id = at.channel_id.map(Id::from);
    }
    if let Some(url) = &mut event.channel.webhook_url {
        for token in at.tokens {
            if url.contains(token) {
                *url = url.replace(token, MASK);
            }
        }
    }
}

/// The vendor's own name of an unknown kind of body.
fn kind(body: &Fields<'_>) -> Option<String> {
    let in_event = || body.object("event").and_then(|event| event.text("type"));
    ["Type", "acao", "action", "event", "type"].into_iter().find_map(|name| body.text(name)).or_else(in_event)
}

fn envelope(event: &Event, original: Option<&str>) -> String {
    let mut text = serde_json::to_string(event).expect("writing to memory, and every key is a string");
    let original = serde_json::to_string(&original).expect("writing a string to memory");
    text.truncate(text.len() - 1);
    text.push_str(",\"original\":");
    text.push_str(&original);
    text.push('}');
    text
}
