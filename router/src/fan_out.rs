//! One event to the deliveries that follow from it: pure, but for the index it asks.

use std::sync::Arc;

use broker::{Incoming, Lane, Target};
use bytes::Bytes;
use schemas::{
    Delivery, Envelope, EventFacts, Format, FormatOptions, MAX_SUBSCRIPTIONS, Match, Message, Part, render, wire,
};
use store::TenantSnapshot;

use crate::index::{Index, Interest};

/// A delivery on its way: what it is, and its body.
pub(crate) struct Outgoing {
    pub(crate) delivery: Delivery,
    pub(crate) body: Bytes,
}

impl Outgoing {
    /// As the broker carries it.
    pub(crate) fn message(&self) -> Message {
        self.delivery.to_message(self.body.clone())
    }

    /// Where first attempts wait.
    pub(crate) const TARGET: Target = Target::Lane(Lane::Fast, None);
}

/// What an event's deliveries have in common.
pub(crate) struct Origin<'a> {
    pub(crate) tenant: &'a Arc<TenantSnapshot>,
    pub(crate) revision: u64,
    pub(crate) accepted_at: u64,
    pub(crate) incoming: &'a Incoming,
}

/// What an event makes.
#[derive(Default)]
pub(crate) struct FanOut {
    /// One for each endpoint that wants it and part of what it renders to.
    pub(crate) deliveries: Vec<Outgoing>,
    /// How many endpoints want it in a format that has no such event.
    pub(crate) unrendered: usize,
}

/// What follows from an event.
pub(crate) fn fan_out(envelope: &Envelope<'_>, index: &Index, origin: &Origin<'_>) -> FanOut {
    let facts = EventFacts::of(&envelope.event);
    let mut rendered = Rendered::default();
    let mut made = FanOut::default();
    for (endpoint_id, interest) in index.interests(origin.tenant, &facts) {
        // A subscription names an endpoint of its own tenant: the store has checked that.
        let Some(endpoint) = origin.tenant.endpoints.get(endpoint_id) else { continue };
        let shape = (endpoint.format, endpoint.format_options, interest.wanted);
        let bodies = rendered.of(envelope, shape);
        made.unrendered += usize::from(bodies.is_empty());
        for (part, body) in bodies {
            let delivery = delivery(envelope, endpoint_id, &interest, *part, origin);
            made.deliveries.push(Outgoing { delivery, body: body.clone() });
        }
    }
    made
}

fn delivery(
    envelope: &Envelope<'_>,
    endpoint_id: &str,
    interest: &Interest<'_>,
    part: Part,
    origin: &Origin<'_>,
) -> Delivery {
    let header = |name| origin.incoming.message.headers.text(name).map(str::to_owned);
    let event_type = envelope.event.event_type.clone();
    Delivery {
        event_time: envelope.occurred_at_ms,
        subscriptions: interest.subscriptions.iter().take(MAX_SUBSCRIPTIONS).map(|id| (*id).to_owned()).collect(),
        revision: origin.revision,
        traceparent: header(wire::TRACEPARENT),
        tracestate: header(wire::TRACESTATE),
        ..Delivery::owed(&origin.tenant.id, &envelope.id, event_type, endpoint_id, part, origin.accepted_at)
    }
}

/// What decides how a body looks.
type Shape = (Format, FormatOptions, Match);

/// An event's bodies, each shape rendered once. A short list: few events are wanted in more than three shapes.
#[derive(Default)]
struct Rendered(Vec<(Shape, Vec<(Part, Bytes)>)>);

impl Rendered {
    fn of(&mut self, envelope: &Envelope<'_>, shape: Shape) -> &[(Part, Bytes)] {
        let at = self.0.iter().position(|(known, _)| *known == shape).unwrap_or_else(|| {
            let (format, options, wanted) = shape;
            let bodies = render(envelope, format, &options, wanted);
            self.0.push((shape, bodies.into_iter().map(|body| (body.part, body.bytes.into())).collect()));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}
