//! An index of a tenant's subscriptions: the cost of matching an event depends on the number of matches, not of
//! subscriptions.
//!
//! Each subscription is listed once, under its most selective dimension: its channels, otherwise its queues, otherwise
//! neither; and there under its types. The subscriptions found are candidates, and [`Subscription::accepts`] decides.

use std::collections::{BTreeMap, HashMap};

use schemas::{EventFacts, EventType, Match, NO_QUEUE, Subscription, TypePattern};
use store::TenantSnapshot;

/// Subscriptions by their conditions, as positions in the tenant's list.
#[derive(Debug, Default)]
pub struct Index {
    by_channel: HashMap<String, ByType>,
    by_queue: HashMap<String, ByType>,
    anywhere: ByType,
}

#[derive(Debug, Default)]
struct ByType {
    by_type: HashMap<EventType, Vec<usize>>,
    by_entity: HashMap<String, Vec<usize>>,
    any: Vec<usize>,
}

/// The reason why an endpoint receives an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest<'a> {
    pub wanted: Match,
    pub subscriptions: Vec<&'a str>,
}

impl Index {
    pub fn new(subscriptions: &[Subscription]) -> Self {
        let mut index = Self::default();
        for (at, subscription) in subscriptions.iter().enumerate().filter(|(_, subscription)| subscription.enabled) {
            if let Some(channel_ids) = &subscription.channel_ids {
                for id in &channel_ids.0 {
                    index.by_channel.entry(id.clone()).or_default().add(at, subscription);
                }
            } else if let Some(queue_ids) = &subscription.queue_ids {
                for id in &queue_ids.0 {
                    index.by_queue.entry(id.clone()).or_default().add(at, subscription);
                }
            } else {
                index.anywhere.add(at, subscription);
            }
        }
        index
    }

    /// The endpoints that receive an event, in the order of their ids.
    pub fn interests<'a>(&self, tenant: &'a TenantSnapshot, facts: &EventFacts<'_>) -> BTreeMap<&'a str, Interest<'a>> {
        let mut interests = BTreeMap::<&str, Interest<'_>>::new();
        for at in self.candidates(facts) {
            let subscription = &tenant.subscriptions[at];
            let Ok(wanted) = subscription.accepts(facts) else { continue };
            let interest = interests.entry(&subscription.endpoint_id).or_default();
            interest.wanted.event |= wanted.event;
            interest.wanted.shot |= wanted.shot;
            if !interest.subscriptions.contains(&subscription.id.as_str()) {
                interest.subscriptions.push(&subscription.id);
            }
        }
        interests
    }

    /// Largest number of endpoints that may receive an event, without looking at each.
    pub(crate) fn most_interests(&self, facts: &EventFacts<'_>) -> usize {
        self.candidates(facts).count()
    }

    fn candidates(&self, facts: &EventFacts<'_>) -> impl Iterator<Item = usize> {
        let places = [
            facts.channel_id.and_then(|id| self.by_channel.get(id)),
            self.by_queue.get(facts.queue_id.unwrap_or(NO_QUEUE)),
            Some(&self.anywhere),
        ];
        places.into_iter().flatten().flat_map(|place| place.candidates(facts.event_type))
    }
}

impl ByType {
    fn add(&mut self, at: usize, subscription: &Subscription) {
        for pattern in &subscription.event_types {
            match pattern {
                TypePattern::Any => self.any.push(at),
                TypePattern::Entity(entity) => self.by_entity.entry(entity.clone()).or_default().push(at),
                TypePattern::Type(event_type) => self.by_type.entry(event_type.clone()).or_default().push(at),
            }
        }
        if subscription.start_on_transfer {
            self.by_type.entry(EventType::TICKET_TRANSFERRED).or_default().push(at);
        }
    }

    fn candidates(&self, event_type: &EventType) -> impl Iterator<Item = usize> {
        let by_type = self.by_type.get(event_type).into_iter().flatten();
        let by_entity = self.by_entity.get(event_type.entity()).into_iter().flatten();
        by_type.chain(by_entity).chain(&self.any).copied()
    }
}

#[cfg(test)]
mod tests;
