//! The HTTP API of a process, at its address after the latest restart.

use std::{collections::BTreeSet, net::SocketAddr};

use futures_util::{StreamExt as _, stream};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::eventually;

/// The operator's key of all sites.
pub(crate) const KEY: &str = "an-operators-key-of-the-tests";
/// Events in one request.
const BATCH: usize = 50;
/// Requests under way at once.
const REQUESTS: usize = 4;
/// Most events that may be accepted twice when a producer or its broker dies: they are sent again with the same ids.
pub(crate) const UNANSWERED: usize = BATCH * REQUESTS;

/// A client of one process' API.
#[derive(Clone)]
pub(crate) struct Api {
    address: watch::Receiver<Option<SocketAddr>>,
    http: reqwest::Client,
}

/// Makes `count` ids of events that begin with `name`.
pub(crate) fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number:05}")).collect()
}

/// An HTTP client without a proxy.
pub(crate) fn client() -> reqwest::Client {
    // Fails when the process has a provider already, which then serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

impl Api {
    pub(super) fn new(address: watch::Receiver<Option<SocketAddr>>) -> Self {
        Self { address, http: client() }
    }

    /// The API's URL now.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address.borrow().expect("a role with an API"))
    }

    /// A request without a key.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url() + path)
    }

    /// A request with the operator's key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(KEY)
    }

    /// Sends a request with a key. Returns the status and the JSON answer.
    pub(crate) async fn ask(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.anonymous(method, path).bearer_auth(key);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Sends a request that must succeed. Returns the answer.
    pub(crate) async fn done(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(key, method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path} answered {status}: {answer}");
        answer
    }

    /// Puts a resource with the operator's key.
    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        self.done(KEY, Method::PUT, path, Some(body)).await
    }

    /// Publishes a `ticket.created` with each id, in batches, several at once. A batch that is answered 503, or not at all,
    /// is sent again until it is answered 202. Returns the accepted ids.
    pub(crate) async fn publish(&self, tenant: &str, ids: Vec<String>) -> BTreeSet<String> {
        self.publish_counting(tenant, ids, &watch::channel(0).0).await
    }

    /// Like [`publish`](Self::publish), with a count of the events accepted so far.
    pub(crate) async fn publish_counting(
        &self,
        tenant: &str,
        ids: Vec<String>,
        accepted: &watch::Sender<usize>,
    ) -> BTreeSet<String> {
        let batches: Vec<_> = ids.chunks(BATCH).map(<[String]>::to_vec).collect();
        let publish = |batch: Vec<String>| async move {
            eventually("a batch is accepted", || self.attempt(tenant, &batch)).await;
            accepted.send_modify(|accepted| *accepted += batch.len());
            batch
        };
        stream::iter(batches).map(publish).buffer_unordered(REQUESTS).concat().await.into_iter().collect()
    }

    /// Sends a batch once. None when it may be sent again.
    async fn attempt(&self, tenant: &str, ids: &[String]) -> Option<()> {
        let events: Vec<_> = ids.iter().map(|id| json!({"id": id, "type": "ticket.created"})).collect();
        let body = json!({"events": events}).to_string();
        let request = self.request(Method::POST, &format!("/v1/tenants/{tenant}/events"));
        let answer = request.header("content-type", "application/json").body(body).send().await.ok()?;
        match answer.status() {
            StatusCode::ACCEPTED => Some(()),
            StatusCode::SERVICE_UNAVAILABLE => None,
            status => panic!("answered {status}: {}", answer.text().await.unwrap_or_default()),
        }
    }
}
