//! The catalogue of event types: what each means, which formats have it, and a sample in each of them. The samples are
//! rendered from one canonical event by the renderers that make deliveries.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Acceptance, DeadReason, Delivery, DeliveryEnd, Envelope, EventId, EventType, Format, FormatOptions, Match,
    OperationalEvent, OutcomeClass, Part, QuotaName, peek_id, process_report::FailedAttempt, render, samples,
};

/// A known type of events. A producer may publish other types, too.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventTypeEntry")]
pub struct EventTypeEntry {
    /// The type, `<entity>.<action>`.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// What the event is about.
    pub entity: String,
    /// What happened to it.
    pub action: String,
    /// One sentence about when it happens.
    pub description: String,
    /// Formats that have a body for it.
    pub formats: Vec<Format>,
    /// The same event in each format.
    pub samples: Samples,
}

/// An event as endpoints of each format get it; null where the format has no such event.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventSamples")]
pub struct Samples {
    /// The canonical event.
    #[schemars(with = "Option<Sample>")]
    pub canonical: Option<Box<RawValue>>,
    /// WHAZING's body.
    #[schemars(with = "Option<Sample>")]
    pub whazing: Option<Box<RawValue>>,
    /// Whaticket's body; the first one of a message with a file.
    #[schemars(with = "Option<Sample>")]
    pub whaticket: Option<Box<RawValue>>,
    /// Boticário's body.
    #[schemars(with = "Option<Sample>")]
    pub boticario: Option<Box<RawValue>>,
}

/// A JSON object.
type Sample = serde_json::Map<String, serde_json::Value>;

impl Samples {
    /// The sample in a format. `original` has none: it is what a platform itself sent.
    pub fn in_format(&self, format: Format) -> Option<&RawValue> {
        match format {
            Format::Canonical => self.canonical.as_deref(),
            Format::Whazing => self.whazing.as_deref(),
            Format::Whaticket => self.whaticket.as_deref(),
            Format::Boticario => self.boticario.as_deref(),
            Format::Original => None,
        }
    }
}

/// Time and tenant of the samples.
const AT: u64 = 1_752_861_300_120;
const TENANT: &str = "acme";

/// Every known type, in the order of [`EventType::KNOWN`].
pub fn catalogue() -> &'static [EventTypeEntry] {
    static CATALOGUE: LazyLock<Vec<EventTypeEntry>> = LazyLock::new(|| EventType::KNOWN.map(entry).into());
    &CATALOGUE
}

fn entry(event_type: EventType) -> EventTypeEntry {
    EventTypeEntry {
        entity: event_type.entity().to_owned(),
        action: event_type.action().to_owned(),
        description: description(&event_type).to_owned(),
        formats: Format::ALL.into_iter().filter(|format| format.has(&event_type)).collect(),
        samples: rendered(&event_type),
        event_type,
    }
}

fn description(event_type: &EventType) -> &'static str {
    match event_type.as_str() {
        "ticket.created" => "A ticket was created, by a contact's message or by an attendant.",
        "ticket.opened" => "An attendant began to work on a ticket.",
        "ticket.transferred" => "A ticket went to another queue or to another attendant.",
        "ticket.closed" => "A ticket was closed.",
        "ticket.tags_changed" => "The labels of a ticket changed.",
        "message.received" => "A message from a contact came in.",
        "message.sent" => "A message to a contact went out.",
        "message.status_changed" => "A message to a contact was sent, delivered or read.",
        "webhook.test" => "Somebody pressed the test button, here or on the platform.",
        "endpoint.disabled" => "An endpoint was disabled, by hand or because its receiver answered 410.",
        "endpoint.failing" => "Attempts at an endpoint began to fail. Not matched by the pattern *.",
        "endpoint.recovered" => "An endpoint that failed answered 2xx again. Not matched by the pattern *.",
        "delivery.delivered" => "A delivery got its 2xx. Not matched by the pattern *.",
        "delivery.dead" => "A delivery ended without a 2xx. Not matched by the pattern *.",
        "quota.reached" => "The tenant reached one of its quotas.",
        "event.loop" => "Deliveries came back in as events again and again, and were refused.",
        "vendor.unknown" => "A platform sent a body that its dialect does not know; only the format original has it.",
        _ => "An event of the producer's own type.",
    }
}

/// The canonical sample of a type; none for `vendor.unknown`, which is delivered in its own form only.
fn canonical(event_type: &EventType) -> Option<String> {
    let operational = |event: OperationalEvent| Some(event.body);
    match event_type.as_str() {
        "endpoint.disabled" => {
            operational(OperationalEvent::endpoint_disabled(TENANT, "crm", 7, Some("the receiver answered 410 Gone")))
        }
        "endpoint.failing" => {
            let last = FailedAttempt { at: AT, outcome: OutcomeClass::ServerError, status: Some(503), excerpt: None };
            operational(OperationalEvent::endpoint_failing(TENANT, "crm", AT, &last))
        }
        "endpoint.recovered" => operational(OperationalEvent::endpoint_recovered(TENANT, "crm", AT)),
        "delivery.delivered" => {
            let end =
                DeliveryEnd { attempt_count: 1, outcome: Some(OutcomeClass::Success), status: Some(200), reason: None };
            operational(OperationalEvent::delivery_ended(&delivery(), &end, AT))
        }
        "delivery.dead" => {
            let (outcome, reason) = (Some(OutcomeClass::ServerError), Some(DeadReason::Exhausted));
            let end = DeliveryEnd { attempt_count: 9, outcome, status: Some(503), reason };
            operational(OperationalEvent::delivery_ended(&delivery(), &end, AT))
        }
        "quota.reached" => operational(OperationalEvent::quota_reached(TENANT, QuotaName::EventsPerSecond, 50.0, AT)),
        "event.loop" => operational(OperationalEvent::event_loop(TENANT, Some("main"), AT)),
        known => samples().iter().find(|(name, _)| *name == known).map(|(_, text)| (*text).to_owned()),
    }
}

/// The delivery that the samples are about.
fn delivery() -> Delivery {
    let event_id = EventId::of_happening(&[TENANT, "sample"]);
    let (ticket_id, message_id) = (Some("4711".to_owned()), Some("3EB0538DA65A59F6D8A2".to_owned()));
    let owed = Delivery::owed(TENANT, &event_id, EventType::MESSAGE_SENT, "crm", Part::First, AT);
    Delivery { ticket_id, message_id, ..owed }
}

fn rendered(event_type: &EventType) -> Samples {
    let text = canonical(event_type);
    let envelope = text.as_deref().and_then(decode);
    let body = |format| {
        let wanted = Match { event: true, shot: false };
        let body = render(envelope.as_ref()?, format, &FormatOptions::default(), wanted).into_iter().next()?;
        RawValue::from_string(String::from_utf8(body.bytes).ok()?).ok()
    };
    Samples {
        canonical: body(Format::Canonical),
        whazing: body(Format::Whazing),
        whaticket: body(Format::Whaticket),
        boticario: body(Format::Boticario),
    }
}

fn decode(text: &str) -> Option<Envelope<'_>> {
    let id = peek_id(text.as_bytes()).ok()??;
    Envelope::decode(text.as_bytes(), &Acceptance::new(id, AT, TENANT)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, SourceContext, read, vendor_samples};

    #[test]
    fn every_format_that_has_a_type_has_a_sample_of_it_and_no_other_one() {
        for entry in catalogue() {
            assert!(entry.description.ends_with('.'), "{}", entry.event_type);
            for format in Format::ALL.into_iter().filter(|format| *format != Format::Original) {
                let (has, sample) = (format.has(&entry.event_type), entry.samples.in_format(format));
                assert_eq!(sample.is_some(), has, "{} in {}", entry.event_type, format.as_str());
            }
        }
    }

    #[test]
    fn samples_have_no_warnings() {
        for (_, text) in samples() {
            assert_eq!(decode(text).unwrap().warnings(), [], "{text}");
        }
    }

    #[test]
    fn vendor_samples_have_the_vendors_names_and_are_known() {
        for dialect in Dialect::ALL {
            for (kind, body) in vendor_samples(dialect) {
                let source = SourceContext {
                    tenant: TENANT,
                    source: "main",
                    channel_id: None,
                    keep_original: false,
                    tokens: &[],
                    now: AT,
                    chance: [7; 10],
                };
                let read = read(dialect, body.as_bytes(), &source).unwrap();
                assert_eq!((read.event.source.event.as_deref(), read.warnings), (Some(*kind), vec![]));
            }
        }
    }
}
