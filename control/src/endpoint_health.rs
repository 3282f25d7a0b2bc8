//! How endpoints are, from what deliverers announce and from the usage that they report. It is kept in memory: what fails is
//! said again every ten seconds, and what works is known again with its next delivery.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemas::{
    EndpointState,
    process_report::{EndpointFailure, EndpointRecovery, FailedAttempt},
};
use store::{ItemKind, Snapshot, TenantSnapshot};
use tokio::time::Instant;

/// Time after which a failure that was not said again is forgotten: three rounds and some.
const FAILURE_AGE: Duration = Duration::from_secs(35);
/// Most endpoints that are remembered, at some 300 bytes each.
const MAX_ENDPOINTS: usize = 200_000;
/// Most processes of which one endpoint's failures are remembered.
const MAX_PROCESSES: usize = 100;

/// An endpoint began to fail, or works again: what its tenant is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HealthChange {
    pub(crate) tenant: String,
    pub(crate) endpoint_id: String,
    /// Time of the first failure, in unix milliseconds.
    pub(crate) since: u64,
    /// The last failure; none where the endpoint works again.
    pub(crate) failure: Option<FailedAttempt>,
}

#[derive(Debug, Default)]
pub(crate) struct EndpointHealths(Mutex<Healths>);

#[derive(Debug, Default)]
struct Healths {
    by_tenant: HashMap<String, HashMap<String, HeardEndpoint>>,
    count: usize,
    /// Number of failing endpoints that a process does not name, and when it said so.
    unnamed: HashMap<String, (u64, Instant)>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct HeardEndpoint {
    failures: HashMap<String, (EndpointFailure, Instant)>,
    /// `since` of the failures that were reported as a change and have not ended, in unix milliseconds.
    failing_since: Option<u64>,
    /// Unix milliseconds.
    recovered_at: u64,
    success: Option<Success>,
    /// The day that `delivered` is about.
    day: String,
    /// Deliveries of the day that each process reported, by the hash of its id.
    delivered: Vec<(u64, u64)>,
}

/// The last success, and the version of the endpoint at which it was heard of.
#[derive(Clone, Copy, Debug)]
struct Success {
    at: u64,
    version: Option<u64>,
}

/// What is known of an endpoint. Times are in unix milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Health {
    Unknown,
    Healthy { last_success_at: u64 },
    Failing(FailingHealth),
}

/// What all deliverers together know of an endpoint that fails.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FailingHealth {
    pub(crate) since: u64,
    pub(crate) failures: u64,
    pub(crate) last: FailedAttempt,
    pub(crate) last_success_at: Option<u64>,
    pub(crate) waiting: u64,
    pub(crate) next_at: Option<u64>,
}

impl EndpointHealths {
    /// Notes what a deliverer announced. Returns what has changed by it; what only carteiro's own events have met is no
    /// change.
    pub(crate) fn note(
        &self,
        process: &str,
        failing: Vec<EndpointFailure>,
        recovered: Vec<EndpointRecovery>,
        unnamed: Option<u64>,
        now: Instant,
    ) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        let mut healths = self.lock();
        if let Some(unnamed) = unnamed {
            healths.unnamed.retain(|_, (_, at)| now.duration_since(*at) < FAILURE_AGE);
            healths.unnamed.insert(process.to_owned(), (unnamed, now));
        }
        for EndpointRecovery { tenant, endpoint_id, at } in recovered {
            let Some(endpoint) = healths.endpoint(&tenant, &endpoint_id) else { continue };
            endpoint.recovered_at = endpoint.recovered_at.max(at);
            let version = endpoint.failures.values().find_map(|(failure, _)| failure.version);
            endpoint.failures.retain(|_, (failure, _)| failure.last.at >= at);
            endpoint.success =
                Some(Success { at, version: version.or(endpoint.success.and_then(|known| known.version)) });
            changes.extend(endpoint.end_failure(&tenant, &endpoint_id));
        }
        for failure in failing {
            let Some(endpoint) = healths.endpoint(&failure.tenant, &failure.endpoint_id) else { continue };
            if failure.last.at >= endpoint.recovered_at
                && (endpoint.failures.len() < MAX_PROCESSES || endpoint.failures.contains_key(process))
            {
                if endpoint.failing_since.is_none() && !failure.only_operational {
                    endpoint.failing_since = Some(failure.since);
                    changes.push(HealthChange {
                        tenant: failure.tenant.clone(),
                        endpoint_id: failure.endpoint_id.clone(),
                        since: failure.since,
                        failure: Some(failure.last.clone()),
                    });
                }
                endpoint.failures.insert(process.to_owned(), (failure, now));
            }
        }
        changes
    }

    /// Notes the deliveries of a day that a process has reported for an endpoint so far. `wall` is unix milliseconds. Returns
    /// a change when the endpoint works again, although no deliverer remembers that it failed.
    pub(crate) fn delivered(
        &self,
        process: &str,
        (tenant, endpoint, version): (&str, &str, Option<u64>),
        (day, delivered): (&str, u64),
        wall: u64,
    ) -> Option<HealthChange> {
        let mut healths = self.lock();
        let (process, id) = (healths.hasher.hash_one(process), endpoint);
        let endpoint = healths.endpoint(tenant, id)?;
        if endpoint.day.as_str() < day {
            day.clone_into(&mut endpoint.day);
            endpoint.delivered.clear();
        }
        if endpoint.day != day {
            return None;
        }
        let known = match endpoint.delivered.iter_mut().find(|(known, _)| *known == process) {
            Some((_, known)) => std::mem::replace(known, delivered),
            None => {
                endpoint.delivered.push((process, delivered));
                0
            }
        };
        if delivered > known {
            endpoint.success = Some(Success { at: wall, version });
            return endpoint.end_failure(tenant, id);
        }
        None
    }

    /// The health of an endpoint as it is configured now.
    pub(crate) fn of(&self, tenant: &TenantSnapshot, endpoint_id: &str, now: Instant) -> Health {
        let version = tenant.versions.of(ItemKind::Endpoint, endpoint_id);
        let healths = self.lock();
        let known = healths.by_tenant.get(&tenant.id).and_then(|endpoints| endpoints.get(endpoint_id));
        known.map_or(Health::Unknown, |endpoint| endpoint.health(version, now))
    }

    /// The active endpoints that fail, of one tenant or of all, each with its tenant: the longest failing first, but every
    /// tenant's first before any tenant's second. For one tenant, no other's endpoints are looked at.
    pub(crate) fn failing(
        &self,
        snapshot: &Snapshot,
        of_tenant: Option<&str>,
        now: Instant,
    ) -> Vec<(String, String, FailingHealth)> {
        let healths = self.lock();
        let own = of_tenant.and_then(|tenant| healths.by_tenant.get_key_value(tenant));
        let all = of_tenant.is_none().then_some(&healths.by_tenant).into_iter().flatten();
        let mut ranked = Vec::new();
        for (tenant, endpoints) in all.chain(own) {
            let Some(tenant) = snapshot.tenant(tenant) else { continue };
            let mut failing: Vec<_> = endpoints
                .iter()
                .filter(|(id, _)| tenant.endpoints.get(*id).is_some_and(|one| one.state == EndpointState::Active))
                .filter_map(|(id, endpoint)| match endpoint.health(tenant.versions.of(ItemKind::Endpoint, id), now) {
                    Health::Failing(failing) => Some((id, failing)),
                    _ => None,
                })
                .collect();
            failing.sort_by(|(a, one), (b, other)| (one.since, a).cmp(&(other.since, b)));
            let own = failing.into_iter().map(|(id, failing)| (tenant.id.clone(), id.clone(), failing));
            ranked.extend(own.enumerate());
        }
        ranked.sort_by(|(rank, (tenant, _, one)), (other_rank, (other_tenant, _, other))| {
            (rank, one.since, tenant).cmp(&(other_rank, other.since, other_tenant))
        });
        ranked.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    /// Number of failing endpoints that deliverers did not name, because there are too many.
    pub(crate) fn unnamed(&self, now: Instant) -> u64 {
        let healths = self.lock();
        let fresh = healths.unnamed.values().filter(|(_, at)| now.duration_since(*at) < FAILURE_AGE);
        fresh.map(|(unnamed, _)| *unnamed).max().unwrap_or_default()
    }

    /// Forgets what is not there any more.
    pub(crate) fn sweep(&self, snapshot: &Snapshot, now: Instant) {
        let healths = &mut *self.lock();
        healths.by_tenant.retain(|tenant, endpoints| {
            let tenant = snapshot.tenant(tenant);
            endpoints.retain(|id, endpoint| {
                endpoint.failures.retain(|_, (_, at)| now.duration_since(*at) < FAILURE_AGE);
                let is_there = tenant.is_some_and(|tenant| tenant.endpoints.contains_key(id));
                let is_known = endpoint.success.is_some() || endpoint.failing_since.is_some();
                is_there && (is_known || !endpoint.failures.is_empty())
            });
            !endpoints.is_empty()
        });
        healths.count = healths.by_tenant.values().map(HashMap::len).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Healths> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Healths {
    /// An endpoint, which is remembered from now on; none while too many are.
    fn endpoint(&mut self, tenant: &str, id: &str) -> Option<&mut HeardEndpoint> {
        let is_known = self.by_tenant.get(tenant).is_some_and(|endpoints| endpoints.contains_key(id));
        if !is_known {
            if self.count >= MAX_ENDPOINTS {
                return None;
            }
            self.count += 1;
            let endpoints = self.by_tenant.entry(tenant.to_owned()).or_default();
            endpoints.insert(id.to_owned(), HeardEndpoint::default());
        }
        self.by_tenant.get_mut(tenant)?.get_mut(id)
    }
}

impl HeardEndpoint {
    /// Ends the failure that was reported as a change, if no process says any more that the endpoint fails.
    fn end_failure(&mut self, tenant: &str, endpoint_id: &str) -> Option<HealthChange> {
        let since = if self.failures.is_empty() { self.failing_since.take() } else { None };
        let (tenant, endpoint_id) = (tenant.to_owned(), endpoint_id.to_owned());
        since.map(|since| HealthChange { tenant, endpoint_id, since, failure: None })
    }

    /// What was heard of another version of the endpoint says nothing about this one.
    fn health(&self, version: Option<u64>, now: Instant) -> Health {
        let success = self.success.filter(|success| success.version.is_none_or(|known| Some(known) == version));
        let last_success_at = success.map(|success| success.at);
        let fresh = self.failures.values().filter(|(failure, at)| {
            now.duration_since(*at) < FAILURE_AGE && (failure.version.is_none() || failure.version == version)
        });
        let failing = fresh.fold(None, |all: Option<FailingHealth>, (failure, _)| {
            let own = FailingHealth {
                since: failure.since,
                failures: failure.failures.into(),
                last: failure.last.clone(),
                last_success_at: failure.last_success_at.max(last_success_at.filter(|at| *at <= failure.since)),
                waiting: failure.waiting,
                next_at: failure.next_at,
            };
            Some(all.map_or(own.clone(), |all| all.and(own)))
        });
        match (failing, last_success_at) {
            (Some(failing), _) => Health::Failing(failing),
            (None, Some(last_success_at)) => Health::Healthy { last_success_at },
            (None, None) => Health::Unknown,
        }
    }
}

impl FailingHealth {
    /// What two deliverers know together.
    fn and(self, other: Self) -> Self {
        Self {
            since: self.since.min(other.since),
            failures: self.failures + other.failures,
            last: if self.last.at < other.last.at { other.last } else { self.last },
            last_success_at: self.last_success_at.max(other.last_success_at),
            waiting: self.waiting + other.waiting,
            next_at: self.next_at.into_iter().chain(other.next_at).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{OutcomeClass, Tenant};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn tenant(id: &str) -> TenantSnapshot {
        let endpoints =
            json!([{"id": "crm", "url": "https://crm.example/"}, {"id": "bi", "url": "https://bi.example/"}]);
        let tenant: Tenant = serde_json::from_value(json!({"id": id, "endpoints": endpoints})).unwrap();
        tenant.into()
    }

    fn failure(tenant: &str, endpoint: &str, since: u64, at: u64) -> EndpointFailure {
        EndpointFailure {
            tenant: tenant.into(),
            endpoint_id: endpoint.into(),
            version: None,
            since,
            failures: 2,
            last: FailedAttempt { at, outcome: OutcomeClass::ServerError, status: Some(500), excerpt: None },
            last_success_at: None,
            waiting: 3,
            next_at: Some(at + 1_000),
            only_operational: false,
        }
    }

    #[test]
    fn what_two_deliverers_know_is_added_up_and_forgotten_when_it_is_not_repeated() {
        let (healths, acme, now) = (EndpointHealths::default(), tenant("acme"), Instant::now());
        assert_eq!(healths.of(&acme, "crm", now), Health::Unknown);
        healths.note("a", vec![failure("acme", "crm", 10, 30)], vec![], None, now);
        healths.note("b", vec![failure("acme", "crm", 20, 40)], vec![], None, now);
        let Health::Failing(failing) = healths.of(&acme, "crm", now) else { panic!("it fails") };
        assert_eq!((failing.since, failing.failures, failing.last.at, failing.waiting), (10, 4, 40, 6));
        assert_eq!(failing.next_at, Some(1_030));
        assert_eq!(healths.of(&acme, "crm", now + FAILURE_AGE), Health::Unknown);
    }

    #[test]
    fn a_recovery_ends_older_failures_of_every_process() {
        let (healths, acme, now) = (EndpointHealths::default(), tenant("acme"), Instant::now());
        healths.note("a", vec![failure("acme", "crm", 10, 30)], vec![], None, now);
        let recovery = EndpointRecovery { tenant: "acme".into(), endpoint_id: "crm".into(), at: 35 };
        healths.note("b", vec![], vec![recovery], None, now);
        healths.note("a", vec![failure("acme", "crm", 10, 30)], vec![], None, now);
        assert_eq!(healths.of(&acme, "crm", now), Health::Healthy { last_success_at: 35 });
        healths.note("a", vec![failure("acme", "crm", 50, 50)], vec![], None, now);
        assert!(matches!(healths.of(&acme, "crm", now), Health::Failing(_)), "it fails again");
    }

    #[test]
    fn a_change_is_returned_once_however_many_processes_and_failures_it_has() {
        let (healths, now) = (EndpointHealths::default(), Instant::now());
        let note = |process, failing, recovered| healths.note(process, failing, recovered, None, now);
        let recovery = |at| vec![EndpointRecovery { tenant: "acme".into(), endpoint_id: "crm".into(), at }];
        let begun = note("a", vec![failure("acme", "crm", 10, 30)], vec![]);
        assert_eq!((begun.len(), begun[0].since, begun[0].failure.is_some()), (1, 10, true));
        assert_eq!(note("a", vec![failure("acme", "crm", 10, 40)], vec![]), [], "it fails still");
        assert_eq!(note("b", vec![failure("acme", "crm", 20, 50)], vec![]), [], "and elsewhere");
        assert_eq!(note("a", vec![], recovery(45)), [], "it fails elsewhere since");
        let ended = note("b", vec![], recovery(55));
        assert_eq!((ended.len(), ended[0].since, &ended[0].failure), (1, 10, &None));
        assert_eq!(note("a", vec![], recovery(56)), [], "it works already");
        assert_eq!(note("a", vec![failure("acme", "crm", 60, 60)], vec![]).len(), 1, "it fails again");
    }

    #[test]
    fn failures_of_own_events_only_are_no_change() {
        let (healths, now) = (EndpointHealths::default(), Instant::now());
        let note = |only_operational| {
            let failure = EndpointFailure { only_operational, ..failure("acme", "crm", 10, 30) };
            healths.note("a", vec![failure], vec![], None, now).len()
        };
        assert_eq!((note(true), note(true)), (0, 0));
        assert_eq!(note(false), 1, "a delivery of another event failed, too");
    }

    #[test]
    fn an_endpoint_whose_failures_no_process_remembers_has_recovered_with_its_next_delivery() {
        let (healths, acme, now) = (EndpointHealths::default(), tenant("acme"), Instant::now());
        let snapshot = Snapshot::new(1, [std::sync::Arc::new(acme)]);
        healths.note("a", vec![failure("acme", "crm", 10, 30)], vec![], None, now);
        let delivered = |count| healths.delivered("b", ("acme", "crm", None), ("2026-11-29", count), NOW);
        assert_eq!(delivered(1), None, "it fails elsewhere");
        healths.sweep(&snapshot, now + FAILURE_AGE);
        assert_eq!(delivered(1), None, "nothing new");
        assert_eq!(delivered(2).map(|change| (change.since, change.failure)), Some((10, None)));
        assert_eq!(delivered(3), None);
    }

    #[test]
    fn an_endpoint_works_since_its_reported_deliveries_grow() {
        let (healths, acme, now) = (EndpointHealths::default(), tenant("acme"), Instant::now());
        let report = |process, day, delivered, wall| {
            healths.delivered(process, ("acme", "crm", None), (day, delivered), wall);
            match healths.of(&acme, "crm", now) {
                Health::Healthy { last_success_at } => Some(last_success_at),
                _ => None,
            }
        };
        assert_eq!(report("a", "2026-11-29", 0, NOW), None, "an attempt that failed");
        assert_eq!(report("a", "2026-11-29", 5, NOW + 1), Some(NOW + 1));
        assert_eq!(report("a", "2026-11-29", 5, NOW + 2), Some(NOW + 1));
        assert_eq!(report("b", "2026-11-29", 1, NOW + 3), Some(NOW + 3));
        assert_eq!(report("a", "2026-11-30", 1, NOW + 4), Some(NOW + 4), "a new day");
        assert_eq!(report("a", "2026-11-29", 9, NOW + 5), Some(NOW + 4), "a report of yesterday");
    }

    #[test]
    fn every_tenants_longest_failure_comes_before_any_tenants_second() {
        let (healths, now) = (EndpointHealths::default(), Instant::now());
        let failing = [
            failure("acme", "crm", 1, 9),
            failure("acme", "bi", 2, 9),
            failure("zeta", "crm", 5, 9),
            failure("gone", "crm", 1, 9),
        ];
        healths.note("a", failing.into(), vec![], Some(7), now);
        let snapshot = Snapshot::new(1, ["acme", "zeta"].map(|id| std::sync::Arc::new(tenant(id))));
        let found = healths.failing(&snapshot, None, now);
        let found: Vec<_> = found.iter().map(|(tenant, id, _)| (tenant.as_str(), id.as_str())).collect();
        assert_eq!(found, [("acme", "crm"), ("zeta", "crm"), ("acme", "bi")]);
        let of = |tenant| {
            let found = healths.failing(&snapshot, Some(tenant), now);
            found.into_iter().map(|(tenant, id, _)| format!("{tenant} {id}")).collect::<Vec<_>>()
        };
        assert_eq!((of("acme"), of("zeta")), (vec!["acme crm".into(), "acme bi".into()], vec!["zeta crm".into()]));
        assert_eq!((of("gone"), of("new")), (vec![], vec![]), "a tenant that is not there or not heard of");
        assert_eq!((healths.unnamed(now), healths.unnamed(now + FAILURE_AGE)), (7, 0));
        healths.sweep(&snapshot, now);
        assert_eq!(healths.lock().count, 3);
        healths.sweep(&snapshot, now + FAILURE_AGE);
        assert_eq!(healths.lock().count, 3, "that they work again is still to be said");
        let recovered = [("acme", "crm"), ("acme", "bi"), ("zeta", "crm")].map(|(tenant, endpoint_id)| {
            EndpointRecovery { tenant: tenant.into(), endpoint_id: endpoint_id.into(), at: 99 }
        });
        assert_eq!(healths.note("a", vec![], recovered.into(), None, now).len(), 3);
        assert_eq!(healths.of(&tenant("zeta"), "crm", now), Health::Healthy { last_success_at: 99 });
        healths.sweep(&Snapshot::new(2, [std::sync::Arc::new(tenant("acme"))]), now + FAILURE_AGE);
        assert_eq!(healths.lock().count, 2, "a tenant that is not there any more is forgotten");
    }
}
