//! A tenant with many endpoints publishes many events in one call. Its receiver answers at once.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Args,
    comparison::Disturbance,
    tenant::{publish_batch, receiver, tenant_with},
};
use crate::{
    cli::client::Client,
    receiver::{Answer, Receiver},
};

const TENANT: &str = "fanning-out";

pub(super) struct FanOut {
    receiver: Receiver,
    events: u32,
    endpoints: u32,
}

impl Disturbance for FanOut {
    async fn start(args: &Args) -> anyhow::Result<Self> {
        let Args { fan_out_events: events, fan_out_endpoints: endpoints, .. } = *args;
        Ok(Self { receiver: receiver(|_| Answer::status(200)).await?, events, endpoints })
    }

    fn tenants(&self) -> Vec<Value> {
        vec![tenant_with(TENANT, self.endpoints, &self.receiver.url("/"))]
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("router.max_fan_out", self.endpoints.to_string())]
    }

    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()> {
        let ids: Vec<_> = (0..self.events).map(|nth| format!("{TENANT}-{nth}")).collect();
        anyhow::ensure!(publish_batch(client, TENANT, &ids).await, "the call with all events was refused");
        Ok(())
    }
}
