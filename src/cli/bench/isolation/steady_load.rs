//! Healthy tenants with a steady load, whose first attempts are measured from the intake to the receiver.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Args,
    arrivals::Arrivals,
    tenant::{call_steadily, event, publish, receiver, tenant},
};
use crate::{
    cli::{bench::latencies::Latencies, client::Client},
    receiver::{Answer, Received, Receiver},
};

const ANSWER_TIME: Duration = Duration::from_millis(20);
/// Longest wait, after a phase, for what was published in it.
const GRACE: Duration = Duration::from_secs(30);

pub(super) struct SteadyLoad {
    tenants: u32,
    per_second: u32,
    receiver: Receiver,
    arrivals: Arc<Arrivals>,
    published: AtomicU64,
}

/// First attempts of the healthy tenants' events.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FirstAttempts {
    #[serde(flatten)]
    pub(super) latencies: Latencies,
    /// Events that had not arrived half a minute after the phase. Their latencies are counted until then.
    pub(super) missing: usize,
    /// Events that were not accepted.
    pub(super) refused: usize,
}

impl SteadyLoad {
    pub(super) async fn start(args: &Args) -> anyhow::Result<Self> {
        let arrivals = Arc::<Arrivals>::default();
        let noted = arrivals.clone();
        let script = move |received: &Received| {
            noted.arrived(received.header("webhook-id"), received.at);
            Answer::Status(200, ANSWER_TIME)
        };
        let Args { tenants, per_second, .. } = *args;
        Ok(Self { tenants, per_second, receiver: receiver(script).await?, arrivals, published: AtomicU64::new(0) })
    }

    /// The tenants, with one endpoint each, so that they share only the process. `host` gives each one's host.
    pub(super) fn tenants(&self, host: impl Fn(u32) -> String) -> Vec<Value> {
        let port = self.receiver.address.port();
        let tenant = |nth| {
            let url = format!("http://{}:{port}/{nth}", host(nth));
            tenant(&id(nth), &[json!({"id": "e", "url": url})])
        };
        (0..self.tenants).map(tenant).collect()
    }

    /// Publishes until `end`, and waits for what has not arrived.
    pub(super) async fn measure(&self, client: &Arc<Client>, end: impl Future<Output = ()>) -> FirstAttempts {
        let refused = Arc::new(AtomicUsize::new(0));
        let call = || {
            let number = self.published.fetch_add(1, Relaxed);
            let id = format!("healthy-{number}");
            let tenant = self::id((number % u64::from(self.tenants)) as u32);
            let (client, arrivals, refused) = (client.clone(), self.arrivals.clone(), refused.clone());
            async move {
                arrivals.publishing(id.clone());
                if !publish(&client, &tenant, &event(&id)).await {
                    arrivals.refused(&id);
                    refused.fetch_add(1, Relaxed);
                }
            }
        };
        call_steadily(self.per_second, call, end).await;
        self.arrivals.all(GRACE).await;
        let (latencies, missing) = self.arrivals.take();
        FirstAttempts { latencies: Latencies::of(latencies), missing, refused: refused.load(Relaxed) }
    }
}

fn id(nth: u32) -> String {
    format!("healthy-{nth}")
}
