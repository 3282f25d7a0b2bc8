//! How many endpoints are in which state. It looks at each of them, so it is taken now and then.

use schemas::EndpointState;
use store::Snapshot;

use crate::{Deliverer, limits::BreakerState};

/// The disabled endpoints of a snapshot, counted anew only when there is another one.
#[derive(Debug, Default)]
pub(crate) struct Disabled {
    revision: u64,
    count: i64,
}

impl Disabled {
    fn of(&mut self, snapshot: &Snapshot) -> i64 {
        if self.revision != snapshot.revision() {
            let endpoints = snapshot.tenants().flat_map(|tenant| tenant.endpoints.values());
            let disabled = endpoints.filter(|endpoint| endpoint.state == EndpointState::Disabled).count();
            *self = Self { revision: snapshot.revision(), count: i64::try_from(disabled).unwrap_or(i64::MAX) };
        }
        self.count
    }
}

impl Deliverer {
    pub(crate) fn take_census(&self, disabled: &mut Disabled) {
        let now = self.now();
        let (mut closed, mut open, mut half_open, mut degraded) = (0, 0, 0, 0);
        for endpoint in self.limiter.endpoints() {
            let (breaker, is_degraded) = endpoint.with(|state| (state.breaker(), state.is_degraded(now)));
            *match (breaker, is_degraded) {
                (BreakerState::Open { .. }, _) => &mut open,
                (BreakerState::HalfOpen { .. }, _) => &mut half_open,
                (BreakerState::Closed, true) => &mut degraded,
                (BreakerState::Closed, false) => &mut closed,
            } += 1;
        }
        let disabled = self.deps.store.snapshot().map_or(0, |snapshot| disabled.of(&snapshot));
        for (state, count) in [
            ("closed", closed),
            ("open", open),
            ("half_open", half_open),
            ("degraded", degraded),
            ("disabled", disabled),
        ] {
            self.reporter.metrics.endpoints.with_label_values(&[state]).set(count);
        }
    }
}
