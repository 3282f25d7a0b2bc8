//! Deliveries that end without an attempt, or wait for one: those whose endpoint is not there, and those that the gate
//! turned away.

use broker::{Due, Incoming, Lane, Settlement, Target};
use schemas::{Counts, DeadReason, Delivery, Endpoint, ParkReason, wire};

use crate::{
    Deliverer, DelivererDependencies,
    destination::Absent,
    limits::TurnedAway,
    metrics::{ENDPOINT_UNKNOWN, SNAPSHOT_BEHIND},
    report,
    settle::Settler,
};

/// How often a delivery to an unknown endpoint is put aside (5 s each) before it counts as gone, where revisions say
/// nothing: the snapshot that knows it may be on its way.
const MAX_PARKS: u32 = 12;
/// A delivery that limits have put aside so often is not young by somebody else's fault: its age counts from acceptance.
const OWN_FAULT: u32 = 3;

impl Deliverer {
    /// The gate did not let it in: it comes back later, on the slow lane, or ends.
    pub(crate) async fn turned_away(
        &self,
        delivery: &Delivery,
        incoming: &Incoming,
        endpoint: &Endpoint,
        turned_away: TurnedAway,
    ) -> Settlement {
        let body = &incoming.message.body;
        let settler = self.settler(self.now());
        match turned_away {
            TurnedAway::Deferred { until, reason } if until <= self.latest(delivery, endpoint) => {
                self.metrics.deferrals.with_label_values(&[reason.as_str()]).inc();
                let later = Delivery { deferrals: delivery.deferrals.saturating_add(1), ..delivery.clone() };
                // Nobody may come before a time that was kept free for it.
                let due = Due { at: until, exact: true };
                report::defer(delivery, reason.as_str(), Some(until));
                settler.publish(&Target::Lane(Lane::Slow, Some(due)), &later.to_message(body.clone())).await
            }
            TurnedAway::SlowLane => {
                self.metrics.moved_to_slow.inc();
                report::defer(delivery, "slow_lane", None);
                settler.publish(&Target::Lane(Lane::Slow, None), &delivery.to_message(body.clone())).await
            }
            TurnedAway::Deferred { .. } if delivery.attempt > 1 => {
                self.end(delivery, incoming, DeadReason::Expired).await
            }
            TurnedAway::Deferred { .. } | TurnedAway::Overflow => {
                self.end(delivery, incoming, DeadReason::Overflow).await
            }
        }
    }

    /// Until when, unix ms, a delivery may be put aside. One that was never attempted and is old already, since it came
    /// late, gets its turn; not if it has grown old here.
    fn latest(&self, delivery: &Delivery, endpoint: &Endpoint) -> u64 {
        let policy = endpoint.retry.as_ref().unwrap_or(&self.default_policy);
        let came_late = delivery.attempt == 1 && delivery.deferrals < OWN_FAULT;
        let since = if came_late { self.now().max(delivery.accepted_at) } else { delivery.accepted_at };
        since.saturating_add(policy.max_age.millis())
    }

    /// There is no endpoint to post to: it waits for one, or ends.
    pub(crate) async fn without_attempt(
        &self,
        delivery: &Delivery,
        incoming: &Incoming,
        lane: Lane,
        absent: Absent,
    ) -> Settlement {
        let now = self.now();
        let body = &incoming.message.body;
        let age = now.saturating_sub(delivery.accepted_at);
        let reason = match absent {
            Absent::Unknown if delivery.deferrals < MAX_PARKS => {
                self.metrics.deferrals.with_label_values(&[ENDPOINT_UNKNOWN]).inc();
                report::defer(delivery, ENDPOINT_UNKNOWN, None);
                return self.settler(now).defer(delivery, body, lane).await;
            }
            // It will be known: the revision that has it exists. Unless the store was put back to an older state.
            Absent::Ahead if age <= self.default_policy.max_age.millis() => {
                self.metrics.deferrals.with_label_values(&[SNAPSHOT_BEHIND]).inc();
                report::defer(delivery, SNAPSHOT_BEHIND, None);
                return self.settler(now).defer(delivery, body, lane).await;
            }
            Absent::Unknown | Absent::Ahead | Absent::Gone => DeadReason::EndpointGone,
            Absent::Cancelled => DeadReason::Cancelled,
            Absent::Disabled => DeadReason::EndpointDisabled,
        };
        self.end(delivery, incoming, reason).await
    }

    async fn end(&self, delivery: &Delivery, incoming: &Incoming, reason: DeadReason) -> Settlement {
        let now = self.now();
        let settlement = self.settler(now).give_up(delivery, &incoming.message.body, reason).await;
        if settlement == Settlement::Done {
            report::ended(&self.metrics, delivery, reason);
            self.outbox(delivery, now, Counts { dead: 1, ..Counts::default() });
        }
        settlement
    }

    /// It is no delivery, or poison.
    pub(crate) async fn park(&self, incoming: &Incoming, reason: ParkReason, detail: String) -> Settlement {
        let message = &incoming.message;
        let settlement = self.settler(self.now()).park(message, &incoming.key, reason, detail.clone()).await;
        if settlement == Settlement::Done {
            self.metrics.parked.with_label_values(&[reason.as_str()]).inc();
            let tenant = message.headers.text(wire::TENANT);
            tracing::warn!(event_id = message.id, tenant, %reason, detail, "delivery.parked");
        }
        settlement
    }

    pub(crate) fn settler(&self, now: u64) -> Settler<'_> {
        let DelivererDependencies { broker, retention, stop, .. } = &self.deps;
        Settler { broker: &**broker, retention, metrics: &self.metrics, stop: stop.clone(), now }
    }
}
