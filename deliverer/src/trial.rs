//! The test button's deliveries: one attempt, whatever the endpoint's state, told to control at once. No retry, no dead
//! letter, no limit of the endpoint's, and nothing is concluded from the outcome.

use std::sync::Arc;

use broker::{Incoming, Lane, Settlement};
use schemas::{Counts, DeadReason, Delivery, Endpoint, Notice, OutcomeClass};

use crate::{Deliverer, Verdict, destination::Absent, metrics::LaneMetrics, report, settle::attempt_of};

/// How long a test waits to become known here, in ms. Nobody looks at it any more after that.
const PATIENCE: u64 = 60_000;

impl Deliverer {
    /// Attempts a test and tells. A crash before it is settled attempts it again.
    pub(crate) async fn try_out(
        &self,
        delivery: &Delivery,
        incoming: &Incoming,
        lane: Lane,
        counted: &LaneMetrics,
    ) -> Settlement {
        let endpoint = match self.find(delivery).await {
            Ok(endpoint) => endpoint,
            Err(absent) => match (self.on_trial(delivery), absent) {
                (Some(endpoint), _) => endpoint,
                (None, Absent::Unknown | Absent::Ahead) if self.now() < delivery.accepted_at + PATIENCE => {
                    return self.without_attempt(delivery, incoming, lane, absent).await;
                }
                (None, _) => return Settlement::Done,
            },
        };
        let (target, body) = (self.targets.of(&delivery.tenant, &endpoint), &incoming.message.body);
        let began = self.now();
        let outcome = self.poster.post(&target, delivery, body.clone(), began).await;
        let (now, verdict) = (self.now(), verdict(outcome.class));
        let attempt = attempt_of(delivery, outcome, began, &verdict);
        report::count(counted, delivery, &attempt, &verdict, now);
        self.outbox(delivery, now, Counts { attempts: 1, bytes: body.len() as u64, ..Counts::default() });
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, outcome = attempt.outcome.as_str(), status = attempt.status,
            duration_ms = attempt.duration_ms,
            "endpoint.tested"
        );
        self.deps.broker.announce(Notice::Tested { delivery_id: delivery.id, attempt }.write().into());
        Settlement::Done
    }

    /// The endpoint also if it is disabled: that it answers again is what somebody wants to know.
    fn on_trial(&self, delivery: &Delivery) -> Option<Arc<Endpoint>> {
        self.deps.store.snapshot()?.endpoint(&delivery.tenant, &delivery.endpoint_id).cloned()
    }
}

/// There is no second attempt.
fn verdict(outcome: OutcomeClass) -> Verdict {
    match outcome {
        OutcomeClass::Success => Verdict::Delivered,
        _ => Verdict::Dead(DeadReason::Exhausted),
    }
}
