//! What must arrive, worked out apart from the pipeline: every subscription is asked, nothing is indexed.

use std::collections::BTreeMap;

use schemas::{Acceptance, Envelope, EventFacts, EventId, Format, Match, Part, render};
use store::Snapshot;

/// A body that is owed: tenant, endpoint, webhook-id.
pub(super) type Owed = (String, String, String);

/// What became of a body that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Awaited,
    Delivered,
    Dead,
}

/// What must arrive, and what has.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    owed: BTreeMap<Owed, Fate>,
    /// Events that were accepted.
    pub(super) published: u64,
    /// Bodies that an endpoint accepted, repeats included.
    pub(super) delivered: u64,
    /// Dead letters.
    pub(super) dead_letters: u64,
}

impl Ledger {
    /// Notes an accepted event: what it makes is owed from now on.
    pub(super) fn publish(
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
                self.owed.entry((tenant.id.clone(), endpoint.id.clone(), webhook_id)).or_insert(Fate::Awaited);
            }
        }
        Ok(())
    }

    /// Notes that an endpoint accepted a body.
    pub(super) fn deliver(&mut self, owed: Owed) {
        self.delivered += 1;
        self.owed.insert(owed, Fate::Delivered);
    }

    /// Notes a dead letter.
    pub(super) fn bury(&mut self, owed: Owed) {
        self.dead_letters += 1;
        self.owed.insert(owed, Fate::Dead);
    }

    /// How many are neither delivered nor dead.
    pub(super) fn awaited(&self) -> u64 {
        self.owed.values().filter(|fate| **fate == Fate::Awaited).count() as u64
    }
}

/// The format of an endpoint, as it is written.
pub(super) fn format_of(snapshot: &Snapshot, tenant: &str, endpoint: &str) -> Option<Format> {
    snapshot.endpoint(tenant, endpoint).map(|endpoint| endpoint.format)
}
