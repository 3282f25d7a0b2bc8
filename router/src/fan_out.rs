//! The fan-out of one event to its deliveries: pure, except for the index.

use std::collections::BTreeMap;

use broker::{Due, Lane, Target};
use bytes::Bytes;
use schemas::{
    Acceptance, Delivery, EndpointState, Envelope, Format, FormatOptions, Id, MAX_SUBSCRIPTIONS, Match, Message,
    ParkReason, Part, render,
};

use crate::{index::Interest, park::Unroutable, tenants::TenantView};

pub(crate) struct Outgoing {
    pub(crate) delivery: Delivery,
    /// Revision that created the tenant.
    pub(crate) tenant_created: u64,
    pub(crate) body: Bytes,
    pub(crate) lane: Lane,
    pub(crate) due: Option<Due>,
}

impl Outgoing {
    pub(crate) fn message(&self) -> Message {
        self.delivery.to_message(self.body.clone())
    }

    pub(crate) fn to(&self) -> Target {
        Target::Lane(self.lane, self.due)
    }
}

/// The lanes of one event's deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Number of deliveries that may still take the fast lane.
    pub(crate) fast: usize,
    /// Time before which no delivery may go out.
    pub(crate) due: Option<Due>,
    /// True if the event has waited on purpose, or its deliveries shall: their first attempts are not late for it.
    pub(crate) deferred: bool,
}

impl Lanes {
    /// The lane of the next delivery. One to a disabled endpoint only becomes a dead letter, and one to a paused endpoint
    /// waits: neither ever stands in front of attempts.
    fn next(&mut self, state: EndpointState) -> Lane {
        match self.due {
            None if state == EndpointState::Active && self.fast > 0 => {
                self.fast -= 1;
                Lane::Fast
            }
            _ => Lane::Slow,
        }
    }
}

#[derive(Default)]
pub(crate) struct FanOut {
    /// One delivery for each endpoint with a matching subscription, and for each part that its format renders.
    pub(crate) deliveries: Vec<Outgoing>,
    /// Matching endpoints whose format has no such event.
    pub(crate) unrendered: Vec<Unrendered>,
}

pub(crate) struct Unrendered {
    pub(crate) endpoint_id: String,
    /// Ids of the subscriptions that matched.
    pub(crate) subscriptions: Vec<String>,
}

impl FanOut {
    /// At most `max` deliveries, to the endpoints of `view` that are interested: as soon as there would be more, the
    /// event is refused and no further one is made.
    pub(crate) fn of(
        envelope: &Envelope<'_>,
        acceptance: &Acceptance,
        view: &TenantView,
        interests: BTreeMap<&str, Interest<'_>>,
        mut lanes: Lanes,
        max: usize,
    ) -> Result<Self, Unroutable> {
        let mut renderings = Renderings::default();
        let mut fan_out = Self::default();
        for (endpoint_id, interest) in interests {
            // The store has checked that a subscription names an endpoint of its own tenant.
            let Some(endpoint) = view.tenant.endpoints.get(endpoint_id) else { continue };
            let bodies = renderings.bodies(envelope, (endpoint.format, endpoint.format_options, interest.wanted));
            if bodies.is_empty() {
                fan_out.unrendered.push(Unrendered {
                    endpoint_id: endpoint_id.to_owned(),
                    subscriptions: interest.subscriptions.iter().map(|id| (*id).to_owned()).collect(),
                });
            }
            if fan_out.deliveries.len() + bodies.len() > max {
                return Err(Unroutable::new(ParkReason::FanoutLimit, format!("more than {max} deliveries")));
            }
            for (part, body) in bodies {
                let (lane, due) = (lanes.next(endpoint.state), lanes.due);
                let mut delivery = delivery(envelope, acceptance, view, endpoint_id, &interest, *part);
                delivery.deferrals = u32::from(lanes.deferred);
                let (tenant_created, body) = (view.tenant.created(), body.clone());
                fan_out.deliveries.push(Outgoing { delivery, tenant_created, body, lane, due });
            }
        }
        Ok(fan_out)
    }
}

fn delivery(
    envelope: &Envelope<'_>,
    acceptance: &Acceptance,
    view: &TenantView,
    endpoint_id: &str,
    interest: &Interest<'_>,
    part: Part,
) -> Delivery {
    let event_type = envelope.event.event_type.clone();
    let tells = view.tenant.wants_delivery_ends() && !event_type.is_operational();
    let (ticket, message) = (envelope.event.ticket.as_ref(), envelope.event.message.as_ref());
    let text = |id: Option<&Id>| id.filter(|_| tells).map(|id| id.text().to_owned());
    Delivery {
        ticket_id: text(ticket.and_then(|ticket| ticket.id.as_ref())),
        message_id: text(message.and_then(|message| message.id.as_ref())),
        event_time: envelope.occurred_at_ms,
        subscriptions: interest.subscriptions.iter().take(MAX_SUBSCRIPTIONS).map(|id| (*id).to_owned()).collect(),
        revision: view.revision,
        hops: acceptance.hops,
        traceparent: acceptance.trace.parent.clone(),
        tracestate: acceptance.trace.state.clone(),
        ..Delivery::owed(&view.tenant.id, &envelope.id, event_type, endpoint_id, part, acceptance.accepted_at)
    }
}

/// Everything that determines the bytes of an event's bodies.
type BodyShape = (Format, FormatOptions, Match);

/// The bodies of one event; each shape is rendered once. A list suffices, because an event rarely needs more than three
/// shapes.
#[derive(Default)]
struct Renderings(Vec<(BodyShape, Vec<(Part, Bytes)>)>);

impl Renderings {
    fn bodies(&mut self, envelope: &Envelope<'_>, shape: BodyShape) -> &[(Part, Bytes)] {
        let at = self.0.iter().position(|(known, _)| *known == shape).unwrap_or_else(|| {
            let (format, options, wanted) = shape;
            let bodies = render(envelope, format, &options, wanted);
            self.0.push((shape, bodies.into_iter().map(|body| (body.part, body.bytes.into())).collect()));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}
