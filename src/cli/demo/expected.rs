//! Computes the deliveries that must arrive, independently of the pipeline: it asks every subscription, without an
//! index.

use std::collections::BTreeMap;

use schemas::{Acceptance, Envelope, EventFacts, EventId, Format, Match, Part, render};
use store::Snapshot;

/// The tenant, the endpoint and the webhook-id of an expected delivery.
pub(super) type DeliveryKey = (String, String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliveryState {
    Awaited,
    Delivered,
    Dead,
}

#[derive(Debug, Default)]
pub(super) struct ExpectedDeliveries {
    states: BTreeMap<DeliveryKey, DeliveryState>,
    pub(super) published: u64,
    /// Accepted requests of endpoints, repeats included.
    pub(super) delivered: u64,
    pub(super) dead_letters: u64,
}

impl ExpectedDeliveries {
    pub(super) fn add_event(
        &mut self,
        snapshot: &Snapshot,
        tenant: &str,
        id: &str,
        envelope: &str,
    ) -> anyhow::Result<()> {
        self.published += 1;
        let id = EventId::try_from(id.to_owned())?;
        let acceptance = Acceptance::new(id, 0, tenant);
        let envelope = Envelope::decode(envelope.as_bytes(), &acceptance)?;
        let facts = EventFacts::of(&envelope.event);
        let Some(tenant) = snapshot.tenant(tenant) else { return Ok(()) };
        for endpoint in tenant.endpoints.values() {
            let mut wanted = Match::default();
            let own = tenant.subscriptions.iter().filter(|own| own.enabled && own.endpoint_id == endpoint.id);
            for found in own.filter_map(|subscription| subscription.accepts(&facts).ok()) {
                wanted.event |= found.event;
                wanted.shot |= found.shot;
            }
            if wanted == Match::default() {
                continue;
            }
            for body in render(&envelope, endpoint.format, &endpoint.format_options, wanted) {
                let webhook_id = match body.part {
                    Part::First => envelope.id.to_string(),
                    part => format!("{}_{part}", envelope.id),
                };
                let key = (tenant.id.clone(), endpoint.id.clone(), webhook_id);
                self.states.entry(key).or_insert(DeliveryState::Awaited);
            }
        }
        Ok(())
    }

    pub(super) fn add_delivered(&mut self, key: DeliveryKey) {
        self.delivered += 1;
        self.states.insert(key, DeliveryState::Delivered);
    }

    pub(super) fn add_dead_letter(&mut self, key: DeliveryKey) {
        self.dead_letters += 1;
        self.states.insert(key, DeliveryState::Dead);
    }

    /// Number of deliveries that are neither accepted nor dead.
    pub(super) fn awaited(&self) -> u64 {
        self.states.values().filter(|state| **state == DeliveryState::Awaited).count() as u64
    }
}

/// Format of an endpoint, if the endpoint exists.
pub(super) fn format_of(snapshot: &Snapshot, tenant: &str, endpoint: &str) -> Option<Format> {
    snapshot.endpoint(tenant, endpoint).map(|endpoint| endpoint.format)
}
