//! A tenant has four slow endpoints with large bodies, and more of them than these take.

use std::{future::pending, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    Args,
    comparison::Disturbance,
    tenant::{call_steadily, event, publish, receiver, tenant_with},
};
use crate::{
    cli::client::Client,
    receiver::{Answer, Receiver},
};

const TENANT: &str = "large";
const ENDPOINTS: u32 = 4;
const ANSWER_TIME: Duration = Duration::from_secs(9);

pub(super) struct Large {
    receiver: Receiver,
    per_second: u32,
    /// The text that makes an event as large as wanted.
    filler: Value,
    max_event_bytes: u32,
}

impl Disturbance for Large {
    async fn start(args: &Args) -> anyhow::Result<Self> {
        let receiver = receiver(|_| Answer::Status(200, ANSWER_TIME)).await?;
        let filler = "x".repeat(args.large_bytes as usize).into();
        // An event has its filler, and some bytes of other fields.
        Ok(Self { receiver, per_second: args.large_per_second, filler, max_event_bytes: args.large_bytes + 1_024 })
    }

    fn tenants(&self) -> Vec<Value> {
        vec![tenant_with(TENANT, ENDPOINTS, &self.receiver.url("/"))]
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("producer.max_event_bytes", self.max_event_bytes.to_string())]
    }

    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()> {
        let mut number = 0;
        let call = || {
            let mut event = event(&format!("{TENANT}-{number}"));
            event["filler"] = self.filler.clone();
            let client = client.clone();
            number += 1;
            async move {
                publish(&client, TENANT, &event).await;
            }
        };
        call_steadily(self.per_second, call, pending()).await;
        Ok(())
    }
}
