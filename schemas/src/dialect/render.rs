//! Renders an event to the bodies that an endpoint receives.

use serde::Serialize;

use super::{boticario, whaticket, whazing};
use crate::{Envelope, EventType, Format, FormatOptions, Match, Part};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedBody {
    pub part: Part,
    /// Exact bytes to be posted: compact JSON in UTF-8, or in the format `original` the platform's own body.
    pub bytes: Vec<u8>,
}

/// Renders the `wanted` bodies of an event; none when the format has no such event. The vendors' formats have a
/// separate body for a transfer's shot. `canonical` and `original` show the transfer itself once, whether the event,
/// the shot or both are wanted.
pub fn render(envelope: &Envelope<'_>, format: Format, options: &FormatOptions, wanted: Match) -> Vec<RenderedBody> {
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

/// The body of the test button for an endpoint of a format: that of WHAZING for all but `canonical`.
pub fn render_test(envelope: &Envelope<'_>, format: Format) -> Vec<u8> {
    match format {
        Format::Canonical => envelope.canonical().into_bytes(),
        Format::Whazing | Format::Whaticket | Format::Boticario | Format::Original => whazing::test(envelope),
    }
}

/// Renders an event in a dialect: its bodies in the vendor's order.
type Renderer = fn(&Envelope<'_>, &FormatOptions) -> Vec<Vec<u8>>;

fn parts(
    envelope: &Envelope<'_>,
    options: &FormatOptions,
    wanted: Match,
    event: Renderer,
    message: Renderer,
) -> Vec<RenderedBody> {
    let mut bodies = Vec::new();
    if wanted.event {
        bodies.extend(number(event(envelope, options), [Part::First, Part::Second]));
    }
    if wanted.shot && envelope.event.event_type == EventType::TICKET_TRANSFERRED {
        bodies.extend(number(message(envelope, options), [Part::Shot, Part::SecondShot]));
    }
    bodies
}

fn number(bodies: Vec<Vec<u8>>, parts: [Part; 2]) -> impl Iterator<Item = RenderedBody> {
    bodies.into_iter().zip(parts).map(|(bytes, part)| RenderedBody { part, bytes })
}

fn first(bytes: Vec<u8>) -> RenderedBody {
    RenderedBody { part: Part::First, bytes }
}

/// Usual size of a body, in bytes, so that its buffer rarely grows.
const USUAL_BYTES: usize = 1_536;

pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, body).expect("writing to memory, and every key is a string");
    bytes
}
