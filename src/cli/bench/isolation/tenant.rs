//! Tenants of a scenario: their configuration, and what they publish.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::arrivals::Arrivals;
use crate::{
    cli::client::{Client, Method},
    receiver::{Answer, Received, Receiver},
};

/// Largest number of calls of one publisher that wait for their answers. Then it waits, too.
const MAX_CALLS: usize = 1_000;
/// Calls a second of a tenant that publishes in batches.
const BATCHES_PER_SECOND: u32 = 10;

/// A tenant whose endpoints all get every event.
pub(super) fn tenant(id: &str, endpoints: &[Value]) -> Value {
    let subscription = |(nth, endpoint): (usize, &Value)| json!({"id": format!("s{nth}"), "endpoint_id": endpoint["id"], "event_types": ["*"]});
    let subscriptions: Vec<_> = endpoints.iter().enumerate().map(subscription).collect();
    json!({"id": id, "endpoints": endpoints, "subscriptions": subscriptions})
}

/// A tenant with this many endpoints that differ in nothing but their ids.
pub(super) fn tenant_with(id: &str, endpoints: u32, url: &str) -> Value {
    tenant(id, &(0..endpoints).map(|nth| json!({"id": format!("e{nth}"), "url": url})).collect::<Vec<_>>())
}

/// Starts a receiver that answers as `script` chooses, and keeps nothing of what it received.
pub(super) async fn receiver(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> anyhow::Result<Receiver> {
    let mut receiver = Receiver::start(TcpListener::bind("127.0.0.1:0").await?, Arc::new(script))?;
    receiver.received.close();
    Ok(receiver)
}

pub(super) fn event(id: &str) -> Value {
    json!({"id": id, "type": "ticket.created"})
}

/// Publishes one event. Returns true if it was accepted.
pub(super) async fn publish(client: &Client, tenant: &str, event: &Value) -> bool {
    client.call::<Value>(Method::POST, &path(tenant), Some(event.to_string())).await.is_ok()
}

/// Publishes events with these ids in one call. Returns true if they were accepted.
pub(super) async fn publish_batch(client: &Client, tenant: &str, ids: &[String]) -> bool {
    let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
    let body = json!({"events": events}).to_string();
    client.call::<Value>(Method::POST, &path(tenant), Some(body)).await.is_ok()
}

fn path(tenant: &str) -> String {
    format!("/v1/tenants/{tenant}/events")
}

/// A tenant that publishes in batches, at a steady rate. What is refused is not repeated.
pub(super) struct BatchPublisher {
    tenant: &'static str,
    per_second: u32,
    arrivals: Arc<Arrivals>,
    published: AtomicU64,
    refused: Arc<AtomicU64>,
}

impl BatchPublisher {
    pub(super) fn new(tenant: &'static str, per_second: u32, arrivals: Arc<Arrivals>) -> Self {
        Self { tenant, per_second, arrivals, published: AtomicU64::new(0), refused: Arc::default() }
    }

    /// Publishes until `end`.
    pub(super) async fn run(&self, client: &Arc<Client>, end: impl Future<Output = ()>) {
        let per_call = u64::from((self.per_second / BATCHES_PER_SECOND).clamp(1, 1_000));
        let call = || {
            let first = self.published.fetch_add(per_call, Relaxed);
            let ids: Vec<_> = (first..first + per_call).map(|number| format!("{}-{number}", self.tenant)).collect();
            let (client, tenant) = (client.clone(), self.tenant);
            let (arrivals, refused) = (self.arrivals.clone(), self.refused.clone());
            async move {
                ids.iter().for_each(|id| arrivals.publishing(id.clone()));
                if !publish_batch(&client, tenant, &ids).await {
                    ids.iter().for_each(|id| arrivals.refused(id));
                    refused.fetch_add(per_call, Relaxed);
                }
            }
        };
        call_steadily(self.per_second / per_call as u32, call, end).await;
    }

    /// Share of the published events that were accepted.
    pub(super) fn accepted_share(&self) -> f64 {
        1.0 - self.refused.load(Relaxed) as f64 / self.published.load(Relaxed).max(1) as f64
    }
}

/// Makes calls at a steady rate until `end`, and then waits for their answers.
pub(super) async fn call_steadily<F>(per_second: u32, mut call: impl FnMut() -> F, end: impl Future<Output = ()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut calls, mut end) = (JoinSet::new(), pin!(end));
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = calls.join_next() => {}
            _ = ticks.tick(), if calls.len() < MAX_CALLS => {
                calls.spawn(call());
            }
        }
    }
    while calls.join_next().await.is_some() {}
}
