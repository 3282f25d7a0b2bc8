//! Resolving: the endpoint of a delivery in the current snapshot, prepared for requests, or the reason why there is none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use schemas::{Delivery, Endpoint, EndpointState, Finding};
use store::{ItemKind, Store, is_older};
use tokio::time::timeout;

use crate::{limits::LastingFailure, post::PreparedEndpoint};

/// Longest time for bringing the snapshot up to a delivery's revision. Then the delivery is deferred.
const PULL_TIMEOUT: Duration = Duration::from_secs(2);
const MINUTE_MS: u64 = 60_000;
/// Number of prepared endpoints beyond which all are forgotten at once, which is cheaper than tracking their age.
const MAX_PREPARED: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The snapshot does not have the endpoint, and its store has no revisions that would say whether it will.
    Unknown,
    /// The delivery was made from a later snapshot than this process has.
    Ahead,
    /// The endpoint was deleted. There may be another one of its id since.
    Gone,
    Cancelled,
    /// The endpoint is disabled, or this process found that it is gone.
    Disabled,
}

pub(crate) struct Resolver {
    store: Arc<dyn Store>,
    prepared: PreparedEndpoints,
    gone: GoneEndpoints,
}

impl Resolver {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, prepared: PreparedEndpoints::default(), gone: GoneEndpoints::default() }
    }

    /// A snapshot that is older than the delivery is brought up to date first.
    pub(crate) async fn resolve(&self, delivery: &Delivery) -> Result<Arc<PreparedEndpoint>, Unresolved> {
        let found = match self.look_up(delivery) {
            // A deferred delivery does not pull again: a store that is away would hold up all other deliveries.
            Err(Unresolved::Ahead) if delivery.deferrals == 0 => {
                // After an error the last good snapshot stays.
                let _ = timeout(PULL_TIMEOUT, self.store.pull()).await;
                self.look_up(delivery)
            }
            found => found,
        };
        Ok(self.prepared.of(&delivery.tenant, &found?))
    }

    /// The endpoint of a delivery that may be attempted now, as this process knows it.
    pub(crate) fn known(&self, delivery: &Delivery) -> Option<Arc<PreparedEndpoint>> {
        let endpoint = self.look_up(delivery).ok().filter(|endpoint| endpoint.state == EndpointState::Active)?;
        Some(self.prepared.of(&delivery.tenant, &endpoint))
    }

    /// The revision that created the delivery's tenant; 0 where that is not known.
    pub(crate) fn tenant_created(&self, delivery: &Delivery) -> u64 {
        let snapshot = self.store.snapshot();
        snapshot.and_then(|snapshot| Some(snapshot.tenant(&delivery.tenant)?.created())).unwrap_or_default()
    }

    /// Resolves an endpoint in any state, because a tenant wants to know whether a disabled endpoint answers again.
    pub(crate) async fn resolve_for_test(&self, delivery: &Delivery) -> Result<Arc<PreparedEndpoint>, Unresolved> {
        let unresolved = match self.resolve(delivery).await {
            Ok(endpoint) => return Ok(endpoint),
            Err(unresolved) => unresolved,
        };
        let endpoint = self.find(delivery).map_err(|_| unresolved)?;
        Ok(self.prepared.of(&delivery.tenant, &endpoint))
    }

    /// Learns from an attempt that the endpoint answered 410, or has only failed for a while, and returns what control
    /// should know. Control hears nothing of an endpoint that was changed meanwhile: the change may have repaired it. A
    /// pause repairs nothing, so that a 410 counts, too, when it comes after it.
    ///
    /// A version of an endpoint that is gone or given up gets no more requests from this process. `now` is unix ms.
    pub(crate) fn learn(
        &self,
        delivery: &Delivery,
        endpoint: &Arc<Endpoint>,
        is_gone: bool,
        failure: Option<LastingFailure>,
        now: u64,
    ) -> Option<Finding> {
        if !is_gone && failure.is_none() {
            return None;
        }
        let paused = is_gone.then(|| self.paused_since(&delivery.tenant, endpoint)).flatten();
        let endpoint = paused.as_ref().unwrap_or(endpoint);
        let version = self.current_version(&delivery.tenant, endpoint);
        if is_gone || failure.is_some_and(|failure| failure.is_given_up) {
            self.gone.insert(endpoint);
        }
        let (version, tenant, endpoint_id) = (version?, delivery.tenant.clone(), endpoint.id.clone());
        Some(match failure {
            Some(LastingFailure { failing_ms, .. }) if !is_gone => {
                // A whole minute, because an unconfirmed report is kept once only if its repeats are equal to it.
                let since = now.saturating_sub(failing_ms) / MINUTE_MS * MINUTE_MS;
                Finding::Failing { tenant, endpoint_id, version, since }
            }
            _ => Finding::Gone { tenant, endpoint_id, version },
        })
    }

    fn look_up(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Unresolved> {
        let endpoint = self.find(delivery)?;
        if endpoint.has_cancelled(delivery.accepted_at) {
            return Err(Unresolved::Cancelled);
        }
        if endpoint.state == EndpointState::Disabled || self.gone.contains(&endpoint) {
            return Err(Unresolved::Disabled);
        }
        Ok(endpoint)
    }

    /// Finds the endpoint in any state, if it is the one that the delivery was made for. No endpoint is older than its
    /// tenant, so a delivery of a former tenant of the same id is recognised by its endpoint as well.
    fn find(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Unresolved> {
        let snapshot = self.store.snapshot().ok_or(Unresolved::Unknown)?;
        let tenant = snapshot.tenant(&delivery.tenant);
        let found = tenant.and_then(|tenant| Some((tenant, tenant.endpoints.get(&delivery.endpoint_id)?)));
        match found {
            Some((tenant, _)) if is_older(delivery.revision, tenant.endpoint_created(&delivery.endpoint_id)) => {
                Err(Unresolved::Gone)
            }
            Some((_, endpoint)) => Ok(endpoint.clone()),
            None if !snapshot.has_shared_revisions() => Err(Unresolved::Unknown),
            None if snapshot.revision() < delivery.revision => Err(Unresolved::Ahead),
            None => Err(Unresolved::Gone),
        }
    }

    /// The current version of an endpoint that was paused since this one, and not changed otherwise.
    fn paused_since(&self, tenant: &str, endpoint: &Endpoint) -> Option<Arc<Endpoint>> {
        let snapshot = self.store.snapshot()?;
        let current = snapshot.endpoint(tenant, &endpoint.id)?;
        let paused = Endpoint { state: EndpointState::Paused, ..endpoint.clone() };
        (**current == paused).then(|| current.clone())
    }

    /// The revision of this version of an endpoint, if it is still the current one. The inner `None` is that of a store
    /// without revisions.
    pub(crate) fn current_version(&self, tenant: &str, endpoint: &Arc<Endpoint>) -> Option<Option<u64>> {
        let snapshot = self.store.snapshot()?;
        let tenant = snapshot.tenant(tenant)?;
        tenant.endpoints.get(&endpoint.id).filter(|known| Arc::ptr_eq(known, endpoint))?;
        Some(tenant.versions.of(ItemKind::Endpoint, &endpoint.id))
    }
}

#[derive(Default)]
struct PreparedEndpoints(Mutex<PreparedByTenant>);

#[derive(Default)]
struct PreparedByTenant {
    tenants: HashMap<String, HashMap<String, Arc<PreparedEndpoint>>>,
    total: usize,
}

impl PreparedEndpoints {
    fn of(&self, tenant: &str, endpoint: &Arc<Endpoint>) -> Arc<PreparedEndpoint> {
        let mut prepared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = prepared.tenants.get(tenant).and_then(|endpoints| endpoints.get(&endpoint.id));
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.endpoint, endpoint)) {
            return known.clone();
        }
        if prepared.total >= MAX_PREPARED {
            *prepared = PreparedByTenant::default();
        }
        let made = Arc::new(PreparedEndpoint::of(tenant, endpoint));
        let replaced = prepared.tenants.entry(tenant.to_owned()).or_default().insert(endpoint.id.clone(), made.clone());
        prepared.total += usize::from(replaced.is_none());
        made
    }
}

/// Versions of endpoints that get no more requests from this process. The key is their address in memory: while a weak
/// pointer to a version exists, no other version can get its address.
#[derive(Default)]
struct GoneEndpoints(Mutex<HashMap<usize, Weak<Endpoint>>>);

impl GoneEndpoints {
    fn insert(&self, endpoint: &Arc<Endpoint>) {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, known| known.strong_count() > 0);
        gone.insert(Arc::as_ptr(endpoint).addr(), Arc::downgrade(endpoint));
    }

    fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&Arc::as_ptr(endpoint).addr())
    }
}
