//! The endpoint limiters of a process. Those of endpoints without recent requests are forgotten.

use std::{collections::HashMap, sync::Arc};

use super::{
    endpoint::{EndpointLimiter, ProcessState},
    fairness::TenantInFlight,
    uptime::Uptime,
};
use crate::config::BreakerConfig;

/// Ms without activity after which an endpoint is forgotten: longer than any open breaker or degradation lasts.
const IDLE_MS: u64 = 600_000;
/// Shortest time between two sweeps, in ms. A sweep looks at every endpoint.
const SWEEP_MS: u64 = 10_000;
/// Smallest number of endpoints that makes a sweep worth its time.
const MIN_SWEPT: usize = 10_000;
/// Largest number of endpoints that are kept, at some 500 bytes each. Nothing is remembered of further ones.
const MAX_KEPT: usize = 200_000;

pub(super) struct EndpointLimiters {
    breaker: BreakerConfig,
    process: Arc<ProcessState>,
    by_tenant: HashMap<String, TenantEndpoints>,
    count: usize,
    sweep_at: usize,
    swept_at: Option<Uptime>,
}

#[derive(Default)]
struct TenantEndpoints {
    in_flight: TenantInFlight,
    by_id: HashMap<String, Arc<EndpointLimiter>>,
}

impl EndpointLimiters {
    pub(super) fn new(breaker: BreakerConfig, process: Arc<ProcessState>) -> Self {
        Self { breaker, process, by_tenant: HashMap::new(), count: 0, sweep_at: MIN_SWEPT, swept_at: None }
    }

    pub(super) fn of(&mut self, tenant: &str, endpoint: &str, now: Uptime) -> Arc<EndpointLimiter> {
        if let Some(known) = self.find(tenant, endpoint) {
            return known;
        }
        if self.count >= self.sweep_at && self.swept_at.is_none_or(|at| now >= at + SWEEP_MS) {
            self.sweep(now);
        }
        let new =
            |in_flight| Arc::new(EndpointLimiter::new(tenant, endpoint, in_flight, self.process.clone(), self.breaker));
        if self.count >= MAX_KEPT {
            return new(TenantInFlight::default());
        }
        let endpoints = self.by_tenant.entry(tenant.to_owned()).or_default();
        let limiter = new(endpoints.in_flight.clone());
        endpoints.by_id.insert(endpoint.to_owned(), limiter.clone());
        self.count += 1;
        limiter
    }

    pub(super) fn find(&self, tenant: &str, endpoint: &str) -> Option<Arc<EndpointLimiter>> {
        self.by_tenant.get(tenant)?.by_id.get(endpoint).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<EndpointLimiter>> {
        self.by_tenant.values().flat_map(|endpoints| endpoints.by_id.values().cloned()).collect()
    }

    fn sweep(&mut self, now: Uptime) {
        self.swept_at = Some(now);
        self.by_tenant.retain(|_, endpoints| {
            endpoints.by_id.retain(|_, limiter| {
                Arc::strong_count(limiter) > 1 || !limiter.with(|state| state.is_idle_for(IDLE_MS, now))
            });
            !endpoints.by_id.is_empty()
        });
        self.count = self.by_tenant.values().map(|endpoints| endpoints.by_id.len()).sum();
        self.sweep_at = (self.count * 2).clamp(MIN_SWEPT, MAX_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::uptime::UptimeClock;

    const START: Uptime = Uptime::of_ms(0);

    fn limiters() -> EndpointLimiters {
        EndpointLimiters::new(
            BreakerConfig::default(),
            Arc::new(ProcessState::new(Arc::new(|| 0), UptimeClock::start())),
        )
    }

    #[test]
    fn an_endpoint_that_was_not_posted_to_for_a_while_is_forgotten_unless_its_limiter_is_in_use() {
        let mut limiters = limiters();
        let held = limiters.of("acme", "held", START);
        assert!(Arc::ptr_eq(&held, &limiters.of("acme", "held", START)));
        for number in 1..MIN_SWEPT {
            limiters.of(&format!("t{}", number % 100), &number.to_string(), START);
        }
        assert_eq!(limiters.all().len(), MIN_SWEPT);
        limiters.of("acme", "one more", START + IDLE_MS);
        assert_eq!(limiters.all().len(), 2);
        assert_eq!((limiters.by_tenant.len(), limiters.count), (1, 2));
    }

    #[test]
    fn the_number_of_known_endpoints_is_bounded_and_further_ones_are_not_remembered() {
        let mut limiters = limiters();
        let held: Vec<_> = (0..MAX_KEPT).map(|number| limiters.of("acme", &number.to_string(), START)).collect();
        assert!(!Arc::ptr_eq(&limiters.of("acme", "x", START), &limiters.of("acme", "x", START)));
        assert_eq!((limiters.count, held.len()), (MAX_KEPT, MAX_KEPT));
    }
}
