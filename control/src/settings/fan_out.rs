//! How many deliveries one event may make: whether some possible event would make more than is allowed.
//!
//! Looks for the worst event by narrowing: a type, then a channel, a queue, a status, each time giving up what could no
//! longer make too many. Most tenants are done after the first count. It cannot tell which events really happen, and
//! gives up, in favour of the tenant, on a configuration so intricate that looking would take long: the router parks
//! what makes too many all the same.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    Endpoint, EventFacts, EventType, Format, Match, MediaBodies, MessageDirection, Subscription, Tenant, TypePattern,
};

/// Subscriptions looked at, at most: some tens of milliseconds.
const MOST_LOOKS: usize = 2_000_000;

/// Whether some event would make more than `limit` deliveries.
pub(crate) fn exceeds(tenant: &Tenant, limit: usize) -> bool {
    let endpoints: BTreeMap<_, _> = tenant.endpoints.iter().map(|endpoint| (endpoint.id.as_str(), endpoint)).collect();
    let wishes: Vec<_> = tenant.subscriptions.iter().filter(|subscription| subscription.enabled).collect();
    let mut search = Search { endpoints, limit, looks: 0 };
    search.may_exceed(&wishes) && types(&wishes).iter().any(|event_type| search.of_type(event_type, &wishes))
}

/// One event of each sort that subscriptions can tell apart by its type.
fn types(wishes: &[&Subscription]) -> BTreeSet<EventType> {
    let patterns = wishes.iter().flat_map(|wish| &wish.event_types);
    let representative = |entity: &str| EventType::try_from(format!("{entity}.any")).ok();
    let mut types: BTreeSet<_> = patterns
        .filter_map(|pattern| match pattern {
            TypePattern::Type(event_type) => Some(event_type.clone()),
            TypePattern::Entity(entity) => representative(entity),
            TypePattern::Any => representative("any"),
        })
        .collect();
    // Wherever messages are meant, those of either direction are; and a transfer may start an integration.
    let some = [EventType::MESSAGE_RECEIVED, EventType::MESSAGE_SENT, EventType::TICKET_TRANSFERRED];
    types.extend(some.into_iter().chain(representative("message")));
    types
}

struct Search<'a> {
    endpoints: BTreeMap<&'a str, &'a Endpoint>,
    limit: usize,
    looks: usize,
}

impl<'a> Search<'a> {
    fn of_type(&mut self, event_type: &EventType, wishes: &[&'a Subscription]) -> bool {
        let is_transfer = *event_type == EventType::TICKET_TRANSFERRED;
        let meant = |wish: &Subscription| {
            wish.event_types.iter().any(|pattern| pattern.matches(event_type))
                || (is_transfer && wish.start_on_transfer)
        };
        let wishes = self.narrowed(wishes, meant);
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
        // A value that is named by nobody matches less than any that is.
        let channels = named(&wishes, |wish| wish.channel_ids.as_ref().map(|ids| &ids.0));
        self.may_exceed(&wishes)
            && channels.into_iter().any(|channel_id| {
                facts.channel_id = channel_id;
                self.in_channel(facts, &wishes)
            })
    }

    fn in_channel<'f>(&mut self, mut facts: EventFacts<'f>, wishes: &[&'a Subscription]) -> bool
    where
        'a: 'f,
    {
        let wishes = self.narrowed(wishes, |wish| {
            wish.channel_ids.as_ref().is_none_or(|ids| facts.channel_id.is_some_and(|id| ids.0.contains(id)))
        });
        let queues = named(&wishes, |wish| wish.queue_ids.as_ref().map(|ids| &ids.0));
        self.may_exceed(&wishes)
            && queues.into_iter().any(|queue_id| {
                facts.queue_id = queue_id;
                self.in_queue(facts, &wishes)
            })
    }

    fn in_queue(&mut self, facts: EventFacts<'_>, wishes: &[&'a Subscription]) -> bool {
        let queue_id = facts.queue_id.unwrap_or("-");
        let wishes = self.narrowed(wishes, |wish| wish.queue_ids.as_ref().is_none_or(|ids| ids.0.contains(queue_id)));
        self.may_exceed(&wishes)
            && ["pending", "open", "closed"].into_iter().any(|status| {
                let facts = EventFacts { ticket_status: Some(status), ..facts };
                self.deliveries(&facts, &wishes) > self.limit
            })
    }

    fn narrowed(&mut self, wishes: &[&'a Subscription], may: impl Fn(&Subscription) -> bool) -> Vec<&'a Subscription> {
        if self.looks >= MOST_LOOKS {
            return Vec::new();
        }
        self.looks += wishes.len();
        wishes.iter().copied().filter(|wish| may(wish)).collect()
    }

    /// Whether these could make too many, if all of them matched.
    fn may_exceed(&self, wishes: &[&Subscription]) -> bool {
        let both = Match { event: true, shot: true };
        let endpoints: BTreeSet<_> = wishes.iter().map(|wish| wish.endpoint_id.as_str()).collect();
        let most = |id: &&str| self.endpoints.get(*id).map_or(0, |endpoint| parts(endpoint, true, both));
        endpoints.iter().map(most).sum::<usize>() > self.limit
    }

    /// How many deliveries an event makes.
    fn deliveries(&mut self, facts: &EventFacts<'_>, wishes: &[&Subscription]) -> usize {
        self.looks += wishes.len();
        let mut interests = BTreeMap::<&str, Match>::new();
        for wish in wishes {
            if let Ok(wanted) = wish.accepts(facts) {
                let interest = interests.entry(&wish.endpoint_id).or_default();
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

/// The values that some of these name; none of them where nobody names any.
fn named<'a>(
    wishes: &[&'a Subscription],
    values: impl Fn(&'a Subscription) -> Option<&'a BTreeSet<String>>,
) -> BTreeSet<Option<&'a str>> {
    let mut named: BTreeSet<_> =
        wishes.iter().filter_map(|wish| values(wish)).flatten().map(|id| Some(id.as_str())).collect();
    if named.is_empty() {
        named.insert(None);
    }
    named
}

/// How many bodies an event has for an endpoint, at most.
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
