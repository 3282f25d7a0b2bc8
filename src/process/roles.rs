//! The roles, made of what they share in this process.

use std::sync::Arc;

use anyhow::Context as _;
use broker::{Broker, Clock};
use control::{Control, ControlMetrics, Rules, World};
use deliverer::{Deliverer, DelivererMetrics};
use producer::{Guard, Producer, ProducerMetrics};
use router::{Router, RouterMetrics};
use schemas::KeyHash;
use service::{
    Chance, Secret, Shutdown,
    http::{Front, Limits},
    metrics::Registry,
};
use store::Store;
use tokio::net::TcpListener;

use super::Roles;
use crate::config::Config;

/// What the roles of a process share.
pub(super) struct Shared {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) shutdown: Shutdown,
}

/// The API of the roles that have one, on one listener.
pub(super) struct Api {
    routes: axum::Router,
    control: Option<Arc<Control>>,
    shutdown: Shutdown,
}

impl Api {
    /// Serves until asked to end, then finishes what is under way.
    pub(super) async fn serve(self, listener: TcpListener, front: Front) {
        if let Err(error) = service::http::serve(listener, self.routes, front, self.shutdown).await {
            tracing::error!(%error, "http.failed");
        }
        if let Some(control) = self.control {
            control.drain().await;
        }
    }
}

impl Shared {
    pub(super) fn router(&self, config: &Config) -> anyhow::Result<Arc<Router>> {
        Ok(Router::new(
            config.router.clone(),
            config.producer.max_published_bytes(),
            self.broker.clone(),
            self.store.clone(),
            RouterMetrics::register(&self.registry)?,
            self.clock.clone(),
            self.shutdown.receiver(),
        ))
    }

    pub(super) fn deliverer(&self, config: &Config) -> anyhow::Result<Arc<Deliverer>> {
        Deliverer::new(
            &config.deliverer,
            self.broker.clone(),
            self.store.clone(),
            DelivererMetrics::register(&self.registry)?,
            (self.clock.clone(), self.chance.clone()),
            self.shutdown.receiver(),
        )
        .context("setting up the HTTP client")
    }
}

impl Shared {
    pub(super) fn api(&self, config: &Config, roles: Roles, operator_key: Option<&Secret>) -> anyhow::Result<Api> {
        let operator = operator_key.map(|key| KeyHash::of(key.reveal()));
        let mut api = Api { routes: axum::Router::new(), control: None, shutdown: self.shutdown.clone() };
        if roles.producer {
            api.routes = api.routes.merge(self.producer(config, operator)?);
        }
        if roles.control {
            let control = self.control(config, operator)?;
            let limits = self.limits(config, operator);
            api.routes = api.routes.merge(limits.on(control::routes(control.clone())));
            api.control = Some(control);
        }
        Ok(api)
    }

    /// For everything but the intake, which has the tenants' quotas.
    fn limits(&self, config: &Config, operator: Option<KeyHash>) -> Arc<Limits<KeyHash>> {
        let store = self.store.clone();
        Limits::new(&config.http, move |presented| {
            let hash = KeyHash::of(presented);
            let is_known = || store.snapshot().is_some_and(|snapshot| snapshot.key(presented).is_some());
            (operator == Some(hash) || is_known()).then_some(hash)
        })
    }

    fn producer(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<axum::Router> {
        let metrics = ProducerMetrics::register(&self.registry)?;
        let world = (self.clock.clone(), self.chance.clone());
        let producer = Producer::new(&config.producer, self.broker.clone(), metrics.clone(), world);
        let guard = Guard { broker: self.broker.clone(), store: self.store.clone(), operator };
        Ok(producer::routes(&config.producer, producer, guard, metrics))
    }

    fn control(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<Arc<Control>> {
        let world = World {
            broker: self.broker.clone(),
            store: self.store.clone(),
            operator,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            secrets: service::chance::secrets(),
            rules: Rules { networks: config.deliverer.allow_networks.clone(), max_fan_out: config.router.max_fan_out },
            stop: self.shutdown.receiver(),
        };
        Ok(Control::new(&config.control, world, ControlMetrics::register(&self.registry)?))
    }
}
