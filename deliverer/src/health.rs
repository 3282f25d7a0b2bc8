//! Announces the endpoints that fail, for people to see: new ones within a second, and each again while it fails. Nothing is
//! written down, and no delivery waits for it.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    EndpointState, Notice,
    process_report::{EndpointFailure, EndpointRecovery},
};

use crate::{Deliverer, limits::EndpointLimiter};

/// Most endpoints of one tenant that are named.
const MAX_OF_TENANT: usize = 50;
/// Most endpoints that are named.
const MAX_NAMED: usize = 500;
/// Most endpoints in one notice: some 40 kB of JSON.
const MAX_TOGETHER: usize = 100;
/// Most recoveries of others' endpoints that wait to be announced.
const MAX_RECOVERED: usize = 1_000;
/// Ms after its last attempt for which an endpoint is still said to fail. The longest usual pause between two attempts is a
/// day.
const REMEMBERED_MS: u64 = 2 * 86_400_000;

#[derive(Default)]
pub(crate) struct HealthAnnouncer {
    /// The endpoints that were named, which must not be forgotten while they get few attempts.
    named: Vec<Arc<EndpointLimiter>>,
    /// Successes of this process at endpoints that another one says fail.
    recovered: Vec<EndpointRecovery>,
    is_asked: bool,
}

impl HealthAnnouncer {
    /// Makes the next round come soon, since a process has begun to listen.
    pub(crate) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// Announces what has changed since the last call; all that fails when `is_round`, or when somebody asked.
    pub(crate) fn announce(&mut self, deliverer: &Deliverer, is_round: bool) {
        let changed = deliverer.limiter.take_health_changes();
        let mut recovered = std::mem::take(&mut self.recovered);
        recovered.extend(changed.iter().filter_map(|endpoint| endpoint.recovery()));
        let is_round = is_round | std::mem::take(&mut self.is_asked);
        let endpoints = if is_round { deliverer.limiter.endpoints() } else { changed };
        let (failing, unnamed) = choose(endpoints.iter().filter_map(|endpoint| {
            let failure = failure_of(deliverer, endpoint)?;
            Some((failure, endpoint))
        }));
        let (failing, named): (Vec<_>, Vec<_>) = failing.into_iter().unzip();
        if is_round {
            self.named = named.into_iter().cloned().collect();
        }
        let process = deliverer.deps.outbox.process();
        let say = |failing: &[EndpointFailure], recovered: &[EndpointRecovery]| {
            let (failing, recovered, process) = (failing.to_vec(), recovered.to_vec(), process.to_owned());
            let unnamed = is_round.then_some(unnamed);
            deliverer.deps.broker.announce(Notice::Endpoints { process, failing, recovered, unnamed }.write().into());
        };
        failing.chunks(MAX_TOGETHER).for_each(|failing| say(failing, &[]));
        recovered.chunks(MAX_TOGETHER).for_each(|recovered| say(&[], recovered));
    }

    /// Takes over what another deliverer announced: a success there ends what fails here, and a success here answers what
    /// fails there.
    pub(crate) fn heard(
        &mut self,
        deliverer: &Deliverer,
        failing: &[EndpointFailure],
        recovered: Vec<EndpointRecovery>,
    ) {
        for EndpointRecovery { tenant, endpoint_id, at } in recovered {
            if let Some(endpoint) = deliverer.limiter.known(&tenant, &endpoint_id) {
                endpoint.succeeded_elsewhere(at);
            }
        }
        for EndpointFailure { tenant, endpoint_id, last, .. } in failing {
            let known = deliverer.limiter.known(tenant, endpoint_id);
            let success = known.and_then(|endpoint| endpoint.recovery()).filter(|success| success.at > last.at);
            if self.recovered.len() < MAX_RECOVERED {
                self.recovered.extend(success);
            }
        }
    }
}

/// What is announced of an endpoint: nothing unless it fails as it is configured now, and is not paused.
fn failure_of(deliverer: &Deliverer, endpoint: &EndpointLimiter) -> Option<EndpointFailure> {
    let (configured, failure) = endpoint.failure()?;
    let version = deliverer.resolver.current_version(&failure.tenant, &configured)?;
    let is_posted_to = configured.state == EndpointState::Active;
    let is_recent = failure.last.at.saturating_add(REMEMBERED_MS) > deliverer.now();
    (is_recent && is_posted_to).then_some(EndpointFailure { version, ..failure })
}

/// Chooses whom to name, the longest failing first: every tenant's first endpoint before any tenant's second. Returns the
/// number of the others, too.
fn choose<T>(failing: impl Iterator<Item = (EndpointFailure, T)>) -> (Vec<(EndpointFailure, T)>, u64) {
    let mut failing: Vec<_> = failing.collect();
    failing.sort_by(|(a, _), (b, _)| (a.since, &a.endpoint_id).cmp(&(b.since, &b.endpoint_id)));
    let (all, mut of_tenant) = (failing.len(), HashMap::<String, usize>::new());
    let mut ranked: Vec<_> = failing
        .into_iter()
        .map(|(failure, endpoint)| {
            let before = of_tenant.entry(failure.tenant.clone()).or_default();
            *before += 1;
            (*before, failure, endpoint)
        })
        .filter(|(rank, ..)| *rank <= MAX_OF_TENANT)
        .collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    ranked.truncate(MAX_NAMED);
    let unnamed = (all - ranked.len()) as u64;
    (ranked.into_iter().map(|(_, failure, endpoint)| (failure, endpoint)).collect(), unnamed)
}

#[cfg(test)]
mod tests {
    use schemas::{OutcomeClass, process_report::FailedAttempt};

    use super::*;

    fn failure(tenant: &str, endpoint: usize, since: u64) -> (EndpointFailure, ()) {
        let last = FailedAttempt { at: since, outcome: OutcomeClass::Timeout, status: None, excerpt: None };
        let failure = EndpointFailure {
            tenant: tenant.to_owned(),
            endpoint_id: endpoint.to_string(),
            version: None,
            since,
            failures: 1,
            last,
            last_success_at: None,
            waiting: 0,
            next_at: None,
            only_operational: false,
        };
        (failure, ())
    }

    #[test]
    fn a_tenant_with_a_thousand_dead_endpoints_hides_nobody() {
        let many = (0..1_000).map(|endpoint| failure("acme", endpoint, 1));
        let (named, unnamed) = choose(many.chain([failure("zeta", 0, 9), failure("zeta", 1, 8)]));
        let named: Vec<_> =
            named.iter().map(|(failure, ())| (failure.tenant.as_str(), failure.endpoint_id.as_str())).collect();
        assert_eq!((named.len(), unnamed), (MAX_OF_TENANT + 2, 1_000 - MAX_OF_TENANT as u64));
        assert_eq!(named[..3], [("acme", "0"), ("zeta", "1"), ("acme", "1")], "the longest failing comes first");
    }

    #[test]
    fn no_more_than_fit_are_named_and_the_others_are_counted() {
        let (named, unnamed) = choose((0..1_000).map(|nth| failure(&format!("t{nth}"), 0, 1_000 - nth as u64)));
        assert_eq!((named.len(), unnamed, named[0].0.since), (MAX_NAMED, 500, 1));
    }
}
