//! The fan-out of events: whether some possible event would make more deliveries than are allowed.
//!
//! The search for the worst event narrows a type, then a channel, a queue and a status, and drops a branch as soon as it
//! can no longer make too many. Most tenants are done after the first count. The search does not know which events really
//! happen. On a configuration so intricate that it would take long, it ends in favour of the tenant: the router parks
//! events that make too many.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    Endpoint, EventFacts, EventType, Format, Match, MediaBodies, MessageDirection, Subscription, Tenant, TypePattern,
};

/// Most subscriptions that are visited in one search, which takes some tens of milliseconds.
const MOST_VISITS: usize = 2_000_000;

/// True when some event would make more than `limit` deliveries.
pub(crate) fn exceeds(tenant: &Tenant, limit: usize) -> bool {
    let endpoints: BTreeMap<_, _> = tenant.endpoints.iter().map(|endpoint| (endpoint.id.as_str(), endpoint)).collect();
    let subscriptions: Vec<_> = tenant.subscriptions.iter().filter(|subscription| subscription.enabled).collect();
    let mut search = Search { endpoints, limit, visits: 0 };
    search.may_exceed(&subscriptions)
        && types(&subscriptions).iter().any(|event_type| search.of_type(event_type, &subscriptions))
}

/// Returns one event type for each group that the subscriptions can tell apart.
fn types(subscriptions: &[&Subscription]) -> BTreeSet<EventType> {
    let patterns = subscriptions.iter().flat_map(|subscription| &subscription.event_types);
    let representative = |entity: &str| EventType::try_from(format!("{entity}.any")).ok();
    let mut types: BTreeSet<_> = patterns
        .filter_map(|pattern| match pattern {
            TypePattern::Type(event_type) => Some(event_type.clone()),
            TypePattern::Entity(entity) => representative(entity),
            TypePattern::Any => representative("any"),
        })
        .collect();
    // Subscriptions tell messages of either direction apart, and a transfer may start an integration.
    let some = [EventType::MESSAGE_RECEIVED, EventType::MESSAGE_SENT, EventType::TICKET_TRANSFERRED];
    types.extend(some.into_iter().chain(representative("message")));
    types
}

struct Search<'a> {
    endpoints: BTreeMap<&'a str, &'a Endpoint>,
    limit: usize,
    visits: usize,
}

impl<'a> Search<'a> {
    fn of_type(&mut self, event_type: &EventType, subscriptions: &[&'a Subscription]) -> bool {
        let is_transfer = *event_type == EventType::TICKET_TRANSFERRED;
        let meant = |subscription: &Subscription| {
            subscription.event_types.iter().any(|pattern| pattern.matches(event_type))
                || (is_transfer && subscription.start_on_transfer)
        };
        let subscriptions = self.narrowed(subscriptions, meant);
        let mut facts = EventFacts {
            event_type,
            channel_id: None,
            queue_id: None,
            direction: match event_type.as_str() {
                "message.received" => Some(MessageDirection::Received),
                "message.sent" => Some(MessageDirection::Sent),
                _ => None,
            },
            ticket_status: None,
            is_group: false,
            to_other_queue: is_transfer,
            has_received_message: true,
        };
        // A value that no subscription names matches fewer subscriptions than any that one names.
        let channels = named(&subscriptions, |subscription| subscription.channel_ids.as_ref().map(|ids| &ids.0));
        self.may_exceed(&subscriptions)
            && channels.into_iter().any(|channel_id| {
                facts.channel_id = channel_id;
                self.in_channel(facts, &subscriptions)
            })
    }

    fn in_channel<'f>(&mut self, mut facts: EventFacts<'f>, subscriptions: &[&'a Subscription]) -> bool
    where
        'a: 'f,
    {
        let subscriptions = self.narrowed(subscriptions, |subscription| {
            subscription.channel_ids.as_ref().is_none_or(|ids| facts.channel_id.is_some_and(|id| ids.0.contains(id)))
        });
        let queues = named(&subscriptions, |subscription| subscription.queue_ids.as_ref().map(|ids| &ids.0));
        self.may_exceed(&subscriptions)
            && queues.into_iter().any(|queue_id| {
                facts.queue_id = queue_id;
                self.in_queue(facts, &subscriptions)
            })
    }

    fn in_queue(&mut self, facts: EventFacts<'_>, subscriptions: &[&'a Subscription]) -> bool {
        let queue_id = facts.queue_id.unwrap_or("-");
        let subscriptions = self.narrowed(subscriptions, |subscription| {
            subscription.queue_ids.as_ref().is_none_or(|ids| ids.0.contains(queue_id))
        });
        self.may_exceed(&subscriptions)
            && ["pending", "open", "closed"].into_iter().any(|status| {
                let facts = EventFacts { ticket_status: Some(status), ..facts };
                self.deliveries(&facts, &subscriptions) > self.limit
            })
    }

    fn narrowed(
        &mut self,
        subscriptions: &[&'a Subscription],
        may: impl Fn(&Subscription) -> bool,
    ) -> Vec<&'a Subscription> {
        if self.visits >= MOST_VISITS {
            return Vec::new();
        }
        self.visits += subscriptions.len();
        subscriptions.iter().copied().filter(|subscription| may(subscription)).collect()
    }

    /// True when these subscriptions would make too many deliveries if all of them matched.
    fn may_exceed(&self, subscriptions: &[&Subscription]) -> bool {
        let both = Match { event: true, shot: true };
        let endpoints: BTreeSet<_> =
            subscriptions.iter().map(|subscription| subscription.endpoint_id.as_str()).collect();
        let most = |id: &&str| self.endpoints.get(*id).map_or(0, |endpoint| parts(endpoint, true, both));
        endpoints.iter().map(most).sum::<usize>() > self.limit
    }

    fn deliveries(&mut self, facts: &EventFacts<'_>, subscriptions: &[&Subscription]) -> usize {
        self.visits += subscriptions.len();
        let mut interests = BTreeMap::<&str, Match>::new();
        for subscription in subscriptions {
            if let Ok(wanted) = subscription.accepts(facts) {
                let interest = interests.entry(&subscription.endpoint_id).or_default();
                interest.event |= wanted.event;
                interest.shot |= wanted.shot;
            }
        }
        let parts = |(id, wanted): (&&str, &Match)| {
            self.endpoints.get(*id).map_or(0, |endpoint| parts(endpoint, facts.event_type.is_message(), *wanted))
        };
        interests.iter().map(parts).sum()
    }
}

/// Returns the values that subscriptions name, or only none when no subscription names any.
fn named<'a>(
    subscriptions: &[&'a Subscription],
    values: impl Fn(&'a Subscription) -> Option<&'a BTreeSet<String>>,
) -> BTreeSet<Option<&'a str>> {
    let mut named: BTreeSet<_> = subscriptions
        .iter()
        .filter_map(|subscription| values(subscription))
        .flatten()
        .map(|id| Some(id.as_str()))
        .collect();
    if named.is_empty() {
        named.insert(None);
    }
    named
}

/// Returns the largest number of bodies that one event has for an endpoint.
fn parts(endpoint: &Endpoint, is_message: bool, wanted: Match) -> usize {
    let of_message = match (endpoint.format, endpoint.format_options.media) {
        (Format::Whaticket, MediaBodies::Both) => 2,
        _ => 1,
    };
    match endpoint.format {
        Format::Canonical | Format::Original => usize::from(wanted.event || wanted.shot),
        _ => {
            let event = if is_message { of_message } else { 1 };
            usize::from(wanted.event) * event + usize::from(wanted.shot) * of_message
        }
    }
}

#[cfg(test)]
mod tests;
