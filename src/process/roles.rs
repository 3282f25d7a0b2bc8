//! The roles, made of what they share in this process.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::Request;
use broker::Broker;
use control::{Control, ControlMetrics, Rules};
use deliverer::{CanaryMetrics, Deliverer, DelivererMetrics};
use producer::{IntakeDependencies, Producer, ProducerMetrics};
use router::{Router, RouterMetrics};
use schemas::{EventId, KeyHash, Secret};
use service::{
    Chance, Clock,
    http::{KeyOwner, RequestLimiter, ServeOptions},
    metrics::Registry,
};
use store::{Outbox, RetentionTable, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Roles;
use crate::config::Config;

/// What stands before a source's token.
const WEBHOOKS: &str = "/v1/in/";

/// What the roles of a process share.
pub(super) struct Shared {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) store: Arc<dyn Store>,
    /// What the roles do and find out.
    pub(super) outbox: Arc<Outbox>,
    /// What is kept of dead letters.
    pub(super) retention: Arc<RetentionTable>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) shutdown: CancellationToken,
}

/// The API of the roles that have one, on one listener.
pub(super) struct Api {
    routes: axum::Router,
    control: Option<Arc<Control>>,
    shutdown: CancellationToken,
}

impl Api {
    /// The control behind it, if that is among the roles.
    pub(super) fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// Serves until asked to end, then finishes what is under way.
    pub(super) async fn serve(self, listener: TcpListener, front: ServeOptions) {
        if let Err(error) = service::http::serve(listener, self.routes, front, self.shutdown).await {
            tracing::error!(%error, "http.failed");
        }
        if let Some(control) = self.control {
            control.drain().await;
        }
    }
}

impl Shared {
    /// With nothing counted yet.
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        clock: Clock,
        shutdown: &CancellationToken,
    ) -> Self {
        let chance = service::chance::system();
        let outbox = Arc::new(Outbox::new(EventId::fresh(clock(), service::chance::bytes(&chance))));
        let (retention, shutdown) = (Arc::default(), shutdown.clone());
        Self { broker, store, outbox, retention, registry, clock, chance, shutdown }
    }

    pub(super) fn router(&self, config: &Config) -> anyhow::Result<Arc<Router>> {
        let deps = router::RouterDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            retention: self.retention.clone(),
            clock: self.clock.clone(),
            stop: self.shutdown.clone(),
        };
        let metrics = RouterMetrics::register(&self.registry)?;
        Ok(Router::new(config.router.clone(), config.producer.max_published_bytes(), deps, metrics))
    }

    pub(super) fn deliverer(&self, config: &Config) -> anyhow::Result<Arc<Deliverer>> {
        let deps = deliverer::DelivererDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            retention: self.retention.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            stop: self.shutdown.clone(),
        };
        let metrics = DelivererMetrics::register(&self.registry)?;
        let canaries = CanaryMetrics::register(&self.registry)?;
        Deliverer::new(&config.deliverer, deps, metrics, canaries).context("setting up the HTTP client")
    }
}

impl Shared {
    pub(super) fn api(&self, config: &Config, roles: Roles, operator_key: Option<&Secret>) -> anyhow::Result<Api> {
        let operator = operator_key.map(|key| KeyHash::of(key.reveal()));
        let mut api = Api { routes: axum::Router::new(), control: None, shutdown: self.shutdown.clone() };
        let limits = self.limits(config, operator);
        if roles.producer {
            let intake = self.producer(config, operator)?;
            api.routes = api.routes.merge(limits.on_guesses(intake, self.is_known(&limits)));
        }
        if roles.control {
            let control = self.control(config, operator)?;
            api.routes = api.routes.merge(limits.on(control::routes(control.clone()))).merge(crate::openapi::routes());
            api.control = Some(control);
        }
        Ok(api)
    }

    /// Whether a request to the intake shows what is somebody's: the token in its path, else its key.
    fn is_known(
        &self,
        limits: &Arc<RequestLimiter<KeyHash>>,
    ) -> impl Fn(&Request) -> bool + Clone + Send + Sync + 'static {
        let (store, clock, limits) = (self.store.clone(), self.clock.clone(), limits.clone());
        move |request| match request.uri().path().strip_prefix(WEBHOOKS) {
            Some(token) => {
                let token = schemas::unescape(token).unwrap_or_default();
                store.snapshot().is_some_and(|snapshot| snapshot.source(&token, clock()).is_some())
            }
            None => limits.owner_of(request) != KeyOwner::Nobody,
        }
    }

    /// For all of control, and for guesses at the intake, which else has the tenants' quotas.
    fn limits(&self, config: &Config, operator: Option<KeyHash>) -> Arc<RequestLimiter<KeyHash>> {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        RequestLimiter::new(&config.http, move |presented| {
            let hash = KeyHash::of(presented);
            if operator == Some(hash) {
                return KeyOwner::Operator;
            }
            // One that was rotated has one allowance, whichever of the two is shown.
            let snapshot = store.snapshot();
            let known = snapshot.as_ref().and_then(|snapshot| Some(snapshot.key(presented, clock())?.1.hash));
            known.map_or(KeyOwner::Nobody, KeyOwner::Known)
        })
    }

    fn producer(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<axum::Router> {
        let metrics = ProducerMetrics::register(&self.registry)?;
        let deps = (self.clock.clone(), self.chance.clone());
        let producer = Producer::new(&config.producer, self.broker.clone(), metrics.clone(), deps);
        let (broker, store, outbox) = (self.broker.clone(), self.store.clone(), self.outbox.clone());
        let deps = IntakeDependencies { broker, store, operator, outbox };
        Ok(producer::routes(&config.producer, producer, deps, metrics))
    }

    fn control(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<Arc<Control>> {
        let deps = control::ControlDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            operator,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            secrets: service::chance::secrets(),
            rules: Rules {
                networks: config.deliverer.allow_networks.clone(),
                max_fan_out: config.router.max_fan_out,
                quota: config.control.quota(),
            },
            audit_age: config.store.audit_age(),
            stop: self.shutdown.clone(),
        };
        Ok(Control::new(&config.control, deps, ControlMetrics::register(&self.registry)?))
    }
}
