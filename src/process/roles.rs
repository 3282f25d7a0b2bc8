//! The roles of a process, and how they are built from shared dependencies.

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use broker::{Broker, DirectDelivery};
use control::{Control, ControlMetrics, Rules};
use deliverer::{CanaryMetrics, Deliverer, DelivererMetrics};
use history::{History, Recorder};
use producer::{IntakeDependencies, Producer, ProducerMetrics};
use router::{Router, RouterMetrics};
use schemas::{EventId, KeyHash, Secret};
use serde_json::json;
use service::{
    Chance, Clock,
    http::{KeyOwner, RequestLimiter, ServeOptions},
    metrics::Registry,
};
use store::{EventShares, Outbox, RetentionTable, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, openapi};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub producer: bool,
    pub router: bool,
    pub deliverer: bool,
    pub control: bool,
}

impl Roles {
    pub const NONE: Self = Self { producer: false, router: false, deliverer: false, control: false };
    pub const WORKER: Self = Self { router: true, deliverer: true, ..Self::NONE };
    pub const STANDALONE: Self = Self { producer: true, router: true, deliverer: true, control: true };

    pub(super) fn is_standalone(self) -> bool {
        self == Self::STANDALONE
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { producer, router, deliverer, control } = self;
        let all = [(producer, "producer"), (router, "router"), (deliverer, "deliverer"), (control, "control")];
        all.into_iter().filter_map(|(has_it, name)| has_it.then_some(name))
    }

    pub(super) fn has_api(self) -> bool {
        self.producer || self.control
    }

    /// A sentence about what the API of these roles serves, for whoever asks for something else.
    pub(super) fn serves(self) -> &'static str {
        match (self.producer, self.control) {
            (true, false) => {
                "this process is a producer and serves only /v1/tenants/{tenant}/events and /v1/in/{token}; ask the \
                 process that runs control"
            }
            (false, true) => {
                "this process runs control; a producer serves /v1/tenants/{tenant}/events and /v1/in/{token}, and \
                 /docs describes the rest"
            }
            _ => "/docs describes all there are",
        }
    }
}

/// Name of the command that starts the roles.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::STANDALONE => f.write_str("standalone"),
            Self::WORKER => f.write_str("worker"),
            _ => f.write_str(&self.names().collect::<Vec<_>>().join("+")),
        }
    }
}

/// Leads people from the root to the description of the API.
async fn to_docs() -> Response {
    let pages = json!({"docs": openapi::PAGE, "openapi": openapi::DOCUMENT});
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, openapi::PAGE)], Json(pages)).into_response()
}

/// Path of vendors' webhooks, without the token.
const WEBHOOK_PATH: &str = "/v1/in/";

pub(super) struct SharedDependencies {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) store: Arc<dyn Store>,
    /// Usage and findings of the roles, until control has recorded them.
    pub(super) outbox: Arc<Outbox>,
    pub(super) retention: Arc<RetentionTable>,
    pub(super) parked_retention: Arc<RetentionTable>,
    /// How many events a second tenants may publish while routers are behind.
    pub(super) event_shares: Arc<EventShares>,
    /// Takes what history keeps of events and attempts.
    pub(super) recorder: Recorder,
    /// What control reads; none where nothing is recorded.
    pub(super) history: Option<Arc<dyn History>>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) shutdown: CancellationToken,
}

/// The API of the process' roles, on one listener.
pub(super) struct Api {
    routes: axum::Router,
    control: Option<Arc<Control>>,
    shutdown: CancellationToken,
}

impl Api {
    pub(super) fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// Serves until the shutdown, and then finishes pending requests and what replays have under way.
    pub(super) async fn serve(self, listener: TcpListener, options: ServeOptions) {
        if let Err(error) = service::http::serve(listener, self.routes, options, self.shutdown).await {
            tracing::error!(%error, "http.failed");
        }
        if let Some(control) = self.control {
            control.drain().await;
        }
    }
}

impl SharedDependencies {
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        clock: Clock,
        shutdown: &CancellationToken,
    ) -> Self {
        let chance = service::chance::system();
        let outbox = Arc::new(Outbox::new(EventId::fresh(clock(), service::chance::bytes(&chance))));
        let (retention, parked_retention, event_shares) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            broker,
            store,
            outbox,
            retention,
            parked_retention,
            event_shares,
            recorder: Recorder::off(),
            history: None,
            registry,
            clock,
            chance,
            shutdown: shutdown.clone(),
        }
    }

    pub(super) fn router(
        &self,
        config: &Config,
        direct: Option<Arc<dyn DirectDelivery>>,
    ) -> anyhow::Result<Arc<Router>> {
        let deps = router::RouterDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            retention: self.retention.clone(),
            parked_retention: self.parked_retention.clone(),
            direct,
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            stop: self.shutdown.clone(),
        };
        let metrics = RouterMetrics::register(&self.registry)?;
        // The producers are other processes with configurations of their own, so the router takes what any may publish.
        Ok(Router::new(config.router.clone(), producer::LARGEST_PUBLISHED, deps, metrics))
    }

    pub(super) fn deliverer(&self, config: &Config) -> anyhow::Result<Arc<Deliverer>> {
        let deps = deliverer::DelivererDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            retention: self.retention.clone(),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            stop: self.shutdown.clone(),
        };
        let metrics = DelivererMetrics::register(&self.registry)?;
        let canaries = CanaryMetrics::register(&self.registry)?;
        Deliverer::new(&config.deliverer, deps, metrics, canaries).context("setting up the HTTP client")
    }

    pub(super) fn api(&self, config: &Config, roles: Roles, operator_key: Option<&Secret>) -> anyhow::Result<Api> {
        let operator = operator_key.map(|key| KeyHash::of(key.reveal()));
        let routes = openapi::routes().route("/", get(to_docs));
        let mut api = Api { routes, control: None, shutdown: self.shutdown.clone() };
        let limits = self.limits(config, operator);
        if roles.producer {
            let intake = self.producer(config, operator)?;
            api.routes = api.routes.merge(limits.on_guesses(intake, self.is_known(&limits)));
        }
        if roles.control {
            let control = self.control(config, operator)?;
            api.routes = api.routes.merge(limits.on(control::routes(control.clone())));
            api.control = Some(control);
        }
        Ok(api)
    }

    /// True when a request to the intake has a known token in its path, or a known key.
    fn is_known(
        &self,
        limits: &Arc<RequestLimiter<String>>,
    ) -> impl Fn(&Request) -> bool + Clone + Send + Sync + 'static {
        let (store, clock, limits) = (self.store.clone(), self.clock.clone(), limits.clone());
        move |request| match request.uri().path().strip_prefix(WEBHOOK_PATH) {
            Some(token) => {
                let token = schemas::unescape(token).unwrap_or_default();
                store.snapshot().is_some_and(|snapshot| snapshot.source(&token, clock()).is_some())
            }
            None => limits.owner_of(request) != KeyOwner::Unknown,
        }
    }

    /// The request limits: of each tenant for its requests to control, and of each address for unknown tokens and keys. The
    /// tenants' quotas limit all other requests to the intake.
    fn limits(&self, config: &Config, operator: Option<KeyHash>) -> Arc<RequestLimiter<String>> {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        RequestLimiter::new(&config.http, move |presented| {
            let presented = KeyHash::of(presented);
            if operator == Some(presented) {
                return KeyOwner::Operator;
            }
            // A tenant makes its keys itself, so all of them share one limit.
            let snapshot = store.snapshot();
            let known = snapshot.and_then(|snapshot| Some(snapshot.key_of_hash(&presented, clock())?.0.id.clone()));
            known.map_or(KeyOwner::Unknown, KeyOwner::Known)
        })
    }

    fn producer(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<axum::Router> {
        let metrics = ProducerMetrics::register(&self.registry)?;
        let deps = (self.clock.clone(), self.chance.clone());
        let store = Some(self.store.clone());
        let producer = Producer::new(&config.producer, self.broker.clone(), store, metrics.clone(), deps);
        let deps = IntakeDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            operator,
            event_shares: self.event_shares.clone(),
            outbox: self.outbox.clone(),
        };
        Ok(producer::routes(&config.producer, producer, deps, metrics))
    }

    fn control(&self, config: &Config, operator: Option<KeyHash>) -> anyhow::Result<Arc<Control>> {
        let deps = control::ControlDependencies {
            broker: self.broker.clone(),
            store: self.store.clone(),
            outbox: self.outbox.clone(),
            history: self.history.clone(),
            recorder: self.recorder.clone(),
            operator,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            secrets: service::chance::secrets(),
            rules: Rules {
                networks: config.deliverer.allow_networks.clone(),
                max_fan_out: config.router.max_fan_out,
                quota: config.control.quota(),
            },
            retry: config.deliverer.retry.clone(),
            audit_age: config.store.audit_age(),
            usage_age: config.store.usage_age(),
            stop: self.shutdown.clone(),
        };
        Ok(Control::new(&config.control, deps, ControlMetrics::register(&self.registry)?))
    }
}
