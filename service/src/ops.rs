//! The ops listener: `/metrics`, `/healthz`, `/readyz`. For operators and schedulers, without authentication.
//!
//! Probes run at each request and must answer from memory.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use schemars::JsonSchema;
use schemas::Span;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    http,
    metrics::Registry,
    problem::{Code, Problem},
};

const METRICS: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

const SERVES: &str = "this is ops.listen, which serves only /metrics, /healthz and /readyz; the API is at http.listen";

/// The `ops` section of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    /// Address of the listener, as `host:port`.
    pub listen: String,
    /// Longest time for which `/healthz` fails before the process ends itself; zero: it goes on.
    pub max_stuck: Span,
}

/// Serves the ops endpoints. Clones share their probes.
#[derive(Clone)]
pub struct Ops {
    registry: Arc<Registry>,
    shutdown: CancellationToken,
    ready: Probes,
    degraded: Probes,
    alive: Probes,
}

impl Ops {
    /// Without probes, the process is alive, and ready until `shutdown` is cancelled.
    pub fn new(registry: Arc<Registry>, shutdown: CancellationToken) -> Self {
        Self { registry, shutdown, ready: Probes::default(), degraded: Probes::default(), alive: Probes::default() }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Adds a readiness probe, whose error names the missing part. Roles may use the same name.
    pub fn ready(&self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.ready.add(name, probe);
    }

    /// Adds a probe whose error says what a process that is ready cannot do for now. `/readyz` tells it, with its status
    /// unchanged.
    pub fn degraded(&self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.degraded.add(name, probe);
    }

    /// Adds a liveness probe, whose error names the stuck part. A process that fails it for long is restarted, so an
    /// unreachable broker or store must not fail it.
    pub fn alive(&self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.alive.add(name, probe);
    }

    /// What keeps the process from being ready, with the reason: none while it is ready.
    pub fn missing(&self) -> BTreeMap<&'static str, String> {
        let mut missing = self.ready.failing();
        if self.shutdown.is_cancelled() {
            missing.insert("process", "draining".to_owned());
        }
        missing
    }

    /// What the process cannot do for now although it is ready, with the reason.
    pub fn degradations(&self) -> BTreeMap<&'static str, String> {
        self.degraded.failing()
    }

    /// The parts that are stuck, with the reason: none while the process is alive. `/healthz` and the
    /// [supervisor](crate::supervisor) judge by it.
    pub fn stuck(&self) -> BTreeMap<&'static str, String> {
        self.alive.failing()
    }

    /// Serves until the future is dropped, also while the process drains. Fails if the listener does.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let options = http::ServeOptions::default().serves(SERVES);
        http::serve(listener, self.router(), options, CancellationToken::new()).await
    }

    fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    match ops.registry.encode() {
        Ok(text) => (METRICS, text).into_response(),
        Err(why) => Problem::new(Code::Internal).detail(why.to_string()).into_response(),
    }
}

async fn healthz(State(ops): State<Ops>) -> Response {
    let stuck = ops.stuck();
    match stuck.is_empty() {
        true => Json(json!({"alive": true})).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"alive": false, "stuck": stuck}))).into_response(),
    }
}

async fn readyz(State(ops): State<Ops>) -> Response {
    let (missing, degraded) = (ops.missing(), ops.degradations());
    let ready = missing.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = json!({"ready": ready});
    for (name, parts) in [("missing", missing), ("degraded", degraded)] {
        if !parts.is_empty() {
            answer[name] = json!(parts);
        }
    }
    (status, Json(answer)).into_response()
}

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone, Default)]
struct Probes(Arc<RwLock<Vec<(&'static str, Probe)>>>);

impl Probes {
    fn add(&self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(probe)));
    }

    fn failing(&self) -> BTreeMap<&'static str, String> {
        let probes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        probes.iter().filter_map(|(name, probe)| Some((*name, probe().err()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::http::testing::Server;

    async fn start(ops: Ops) -> Server {
        Server::start(|listener| ops.serve(listener)).await
    }

    #[tokio::test]
    async fn readiness_names_the_missing_part_and_recovers() {
        let shutdown = CancellationToken::new();
        let _trigger = shutdown.clone();
        let ops = Ops::new(Arc::default(), shutdown);
        let connected = Arc::new(AtomicBool::new(false));
        let seen = connected.clone();
        ops.ready("broker", move || if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("connecting".into()) });
        ops.ready("store", || Ok(()));
        let server = start(ops).await;

        let answer = server.get("/readyz").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, r#"{"ready":false,"missing":{"broker":"connecting"}}"#)
        );
        connected.store(true, Ordering::Relaxed);
        let answer = server.get("/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ready":true}"#));
    }

    #[tokio::test]
    async fn a_degraded_process_is_ready_and_says_what_it_cannot_do() {
        let shutdown = CancellationToken::new();
        let _trigger = shutdown.clone();
        let ops = Ops::new(Arc::default(), shutdown);
        ops.degraded("broker", || Err("full".into()));
        let answer = start(ops).await.get("/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ready":true,"degraded":{"broker":"full"}}"#));
    }

    #[tokio::test]
    async fn a_draining_process_is_alive_but_not_ready() {
        let shutdown = CancellationToken::new();
        let trigger = shutdown.clone();
        let server = start(Ops::new(Arc::default(), shutdown)).await;
        trigger.cancel();
        let answer = server.get("/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"ready":false,"missing":{"process":"draining"}}"#));
        assert_eq!(server.get("/healthz").await.status, 200);
    }

    #[tokio::test]
    async fn a_role_that_is_stuck_is_named() {
        let shutdown = CancellationToken::new();
        let _trigger = shutdown.clone();
        let ops = Ops::new(Arc::default(), shutdown);
        ops.alive("router", || Err("no progress for 60 s".into()));
        let answer = start(ops).await.get("/healthz").await;
        let expected = r#"{"alive":false,"stuck":{"router":"no progress for 60 s"}}"#;
        assert_eq!((answer.status, answer.body.as_str()), (503, expected));
    }

    #[tokio::test]
    async fn a_path_of_the_api_is_answered_with_where_the_api_is() {
        let shutdown = CancellationToken::new();
        let _trigger = shutdown.clone();
        let answer = start(Ops::new(Arc::default(), shutdown)).await.get("/v1/tenants").await;
        let says_where = answer.body.contains("there is no path `/v1/tenants` here: this is ops.listen");
        assert_eq!((answer.status, says_where), (404, true), "{}", answer.body);
    }

    #[tokio::test]
    async fn metrics_are_in_the_text_format() {
        let shutdown = CancellationToken::new();
        let _trigger = shutdown.clone();
        let registry = Registry::for_process("0.1.0", "abc").unwrap();
        let answer = start(Ops::new(Arc::new(registry), shutdown)).await.get("/metrics").await;
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(answer.body.contains("carteiro_build_info"), "{}", answer.body);
    }
}
