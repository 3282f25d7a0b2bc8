//! Reports one event: its log line, its metrics, its usage.

use std::sync::Arc;

use broker::Queue;
use schemas::{Acceptance, Counts, Envelope};
use service::Clock;
use store::Outbox;

use crate::{RouterMetrics, fan_out::FanOut};

pub(crate) struct Reporter {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) metrics: RouterMetrics,
    pub(crate) clock: Clock,
}

impl Reporter {
    /// Reports an event whose deliveries are all confirmed.
    pub(crate) fn routed(&self, envelope: &Envelope<'_>, acceptance: &Acceptance, fan_out: &FanOut, from: Queue) {
        let now = (self.clock)();
        self.count_usage(&acceptance.tenant, fan_out, now);
        let (metrics, deliveries, unrendered) = (&self.metrics, fan_out.deliveries.len(), fan_out.unrendered.len());
        match (deliveries, unrendered) {
            (0, 0) => metrics.unmatched.inc(),
            (0, _) => {}
            _ => metrics.routed.inc(),
        }
        metrics.unrendered.inc_by(unrendered as u64);
        metrics.fan_out.observe(deliveries as f64);
        let age_ms = now.saturating_sub(acceptance.accepted_at);
        if from == Queue::Ingest {
            metrics.routing.observe(age_ms as f64 / 1_000.0);
        }
        tracing::info!(
            event_id = %envelope.id, event_type = %envelope.event.event_type, tenant = acceptance.tenant, deliveries,
            unrendered, age_ms,
            "event.routed"
        );
    }

    /// Reports an event that goes on later, since its tenant has many deliveries under way.
    pub(crate) fn put_aside(&self, envelope: &Envelope<'_>, acceptance: &Acceptance) {
        self.metrics.put_aside.inc();
        tracing::info!(
            event_id = %envelope.id, event_type = %envelope.event.event_type, tenant = acceptance.tenant,
            "event.put_aside"
        );
    }

    /// Reports an event without deliveries, which this process has routed before.
    pub(crate) fn repeated(&self, acceptance: &Acceptance) {
        self.metrics.deduplicated.with_label_values(&["router"]).inc();
        tracing::info!(event_id = %acceptance.id, tenant = acceptance.tenant, "event.repeated");
    }

    fn count_usage(&self, tenant: &str, fan_out: &FanOut, now: u64) {
        self.outbox.add(now, tenant, None, Counts { events: 1, ..Counts::default() });
        for outgoing in &fan_out.deliveries {
            let counts = Counts { deliveries: 1, ..Counts::default() };
            self.outbox.add(now, tenant, Some(&outgoing.delivery.endpoint_id), counts);
        }
    }
}
