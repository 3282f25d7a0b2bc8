//! From an event to the bodies an endpoint gets: which there are, and which parts they are.

use serde::Serialize;

use super::{boticario, whaticket, whazing};
use crate::{Envelope, EventType, Format, FormatOptions, Match, Part};

/// The very bytes to be POSTed, and which of the event's bodies they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Which.
    pub part: Part,
    /// Compact JSON in UTF-8; of format `original` whatever the platform sent.
    pub bytes: Vec<u8>,
}

/// The bodies of an event in a format, as far as they are `wanted`; none when the format has no such event.
///
/// A transfer's shot is a body of its own in the vendors' shapes; `canonical` and `original` show the transfer itself,
/// once, however it is wanted.
pub fn render(envelope: &Envelope<'_>, format: Format, options: &FormatOptions, wanted: Match) -> Vec<Body> {
    let as_is = wanted.event || wanted.shot;
    let is_unknown = envelope.event.event_type == EventType::VENDOR_UNKNOWN;
    match format {
        Format::Original if as_is => envelope.original().map(|body| first(body.into_owned())).into_iter().collect(),
        Format::Canonical if as_is && !is_unknown => vec![first(envelope.canonical().into_bytes())],
        Format::Original | Format::Canonical => Vec::new(),
        Format::Whazing => parts(envelope, options, wanted, whazing::event, whazing::message),
        Format::Whaticket => parts(envelope, options, wanted, whaticket::event, whaticket::message),
        Format::Boticario => parts(envelope, options, wanted, boticario::event, boticario::message),
    }
}

/// The body of the test button for an endpoint of a format: WHAZING's for all but `canonical`.
pub fn render_test(envelope: &Envelope<'_>, format: Format) -> Vec<u8> {
    match format {
        Format::Canonical => envelope.canonical().into_bytes(),
        Format::Whazing | Format::Whaticket | Format::Boticario | Format::Original => whazing::test(envelope),
    }
}

/// How a dialect writes an event: its bodies in the order in which the vendor sends them.
type Renderer = fn(&Envelope<'_>, &FormatOptions) -> Vec<Vec<u8>>;

fn parts(
    envelope: &Envelope<'_>,
    options: &FormatOptions,
    wanted: Match,
    event: Renderer,
    message: Renderer,
) -> Vec<Body> {
    let mut bodies = Vec::new();
    if wanted.event {
        bodies.extend(number(event(envelope, options), [Part::First, Part::Second]));
    }
    if wanted.shot && envelope.event.event_type == EventType::TICKET_TRANSFERRED {
        bodies.extend(number(message(envelope, options), [Part::Shot, Part::SecondShot]));
    }
    bodies
}

fn number(bodies: Vec<Vec<u8>>, parts: [Part; 2]) -> impl Iterator<Item = Body> {
    bodies.into_iter().zip(parts).map(|(bytes, part)| Body { part, bytes })
}

fn first(bytes: Vec<u8>) -> Body {
    Body { part: Part::First, bytes }
}

/// A body's usual size, so that writing it does not begin with a series of small growths.
const USUAL_BYTES: usize = 1_536;

/// Compact JSON.
pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, body).expect("writing to memory, and every key is a string");
    bytes
}
