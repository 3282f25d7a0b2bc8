//! The receivers of a simulation: many endpoints, few of them busy, some of them in trouble for a while.

use std::{sync::Arc, time::Duration};

use schemas::{Endpoint, OutcomeClass};
use tokio::time::{Instant, sleep};

use crate::outcome::Outcome;

/// Time limit of an attempt.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Median latency of a healthy endpoint, in ms.
const MEDIAN_MS: f64 = 120.0;
/// Spread of the logarithm of a healthy endpoint's latency.
const SPREAD: f64 = 0.5;

/// What is wrong with an endpoint during the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Accepts, and never answers.
    BlackHole,
    /// Refuses connections.
    Refuses,
    /// Answers after four to eight seconds.
    Slow,
    /// Answers after this many ms.
    Takes(u64),
    /// Answers that a delivery is refused, which says nothing against the next one.
    Rejects,
}

/// A tenant: its id, and the bytes of each body that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    pub(super) id: &'static str,
    pub(super) body_bytes: usize,
}

pub(super) const ACME: Tenant = Tenant { id: "acme", body_bytes: 1_000 };

/// The endpoints, and when the incident is.
pub(super) struct Receivers {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    troubles: Vec<Trouble>,
    tenants: Vec<Tenant>,
    /// For each endpoint, the share of all events that go to it or to one before it.
    shares: Vec<f64>,
    incident: (Instant, Instant),
    median_ms: f64,
}

impl Receivers {
    /// Makes endpoints of which the nth gets 1/n as many events as the first (Zipf's law). `incident` is its beginning
    /// and its end, from now.
    pub(super) fn new(
        endpoints: usize,
        trouble: impl Fn(usize) -> Trouble,
        incident: (Duration, Duration),
        conf: &serde_json::Value,
    ) -> Self {
        let now = Instant::now();
        let mut sum = 0.0;
        let mut shares: Vec<_> = (1..=endpoints)
            .map(|nth| {
                sum += 1.0 / nth as f64;
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        let endpoint = |nth: usize| {
            let mut json = conf.clone();
            json["id"] = nth.to_string().into();
            json["url"] = format!("https://{nth}.example").into();
            Arc::new(serde_json::from_value(json).expect("an endpoint"))
        };
        Self {
            endpoints: (0..endpoints).map(endpoint).collect(),
            troubles: (0..endpoints).map(trouble).collect(),
            tenants: vec![ACME; endpoints],
            shares,
            incident: (now + incident.0, now + incident.1),
            median_ms: MEDIAN_MS,
        }
    }

    /// The same receivers, with this median latency while they are healthy, in ms.
    pub(super) fn answering_in(self, median_ms: f64) -> Self {
        Self { median_ms, ..self }
    }

    /// Gives each endpoint to a tenant.
    pub(super) fn of_tenants(mut self, tenant: impl Fn(usize) -> Tenant) -> Self {
        self.tenants = (0..self.endpoints.len()).map(tenant).collect();
        self
    }

    pub(super) fn tenant(&self, endpoint: usize) -> Tenant {
        self.tenants[endpoint]
    }

    /// Picks an endpoint, busy ones more often. `chance` is in 0..1.
    pub(super) fn pick(&self, chance: f64) -> usize {
        self.shares.partition_point(|share| *share < chance).min(self.shares.len() - 1)
    }

    /// Whether nothing is ever wrong with the endpoint.
    pub(super) fn is_healthy(&self, endpoint: usize) -> bool {
        self.troubles[endpoint] == Trouble::None
    }

    /// Posts to an endpoint. Both chances are in 0..1.
    pub(super) async fn post(&self, endpoint: usize, chances: (f64, f64)) -> Outcome {
        let began = Instant::now();
        let is_on = began >= self.incident.0 && began < self.incident.1;
        let (after, class) = match self.troubles[endpoint] {
            Trouble::BlackHole if is_on => (TIMEOUT, OutcomeClass::Timeout),
            Trouble::Refuses if is_on => (Duration::from_millis(2), OutcomeClass::Connect),
            Trouble::Rejects if is_on => (Duration::from_millis(20), OutcomeClass::ClientError),
            Trouble::Takes(ms) if is_on => (Duration::from_millis(ms), OutcomeClass::Success),
            Trouble::Slow if is_on => (Duration::from_secs_f64(4.0 + 4.0 * chances.0), OutcomeClass::Success),
            _ => (self.healthy_latency(chances), OutcomeClass::Success),
        };
        sleep(after).await;
        let status = (class == OutcomeClass::Success).then_some(200);
        let duration_ms = u64::try_from(began.elapsed().as_millis()).expect("not long");
        Outcome { class, status, retry_after: None, excerpt: String::new(), duration_ms }
    }

    /// A log-normal latency, by the Box–Muller transform.
    fn healthy_latency(&self, (first, second): (f64, f64)) -> Duration {
        let normal = (-2.0 * first.max(1e-9).ln()).sqrt() * (std::f64::consts::TAU * second).cos();
        Duration::from_secs_f64(self.median_ms / 1_000.0 * (SPREAD * normal).exp())
    }
}
