//! A tenant publishes ten times what its endpoint takes.

use std::{future::pending, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Args,
    comparison::Disturbance,
    tenant::{BatchPublisher, receiver, tenant},
};
use crate::{
    cli::client::Client,
    receiver::{Answer, Receiver},
};

const TENANT: &str = "flooding";
/// How many requests its endpoint takes at once. Their answers take so long that it gets a tenth of what is published.
const MAX_IN_FLIGHT: u32 = 10;

pub(super) struct Flood {
    receiver: Receiver,
    publisher: BatchPublisher,
}

impl Disturbance for Flood {
    async fn start(args: &Args) -> anyhow::Result<Self> {
        let answer_time = Duration::from_secs((10 * MAX_IN_FLIGHT).into()) / args.flood_per_second;
        let receiver = receiver(move |_| Answer::Status(200, answer_time)).await?;
        Ok(Self { receiver, publisher: BatchPublisher::new(TENANT, args.flood_per_second, Arc::default()) })
    }

    fn tenants(&self) -> Vec<Value> {
        vec![tenant(TENANT, &[json!({"id": "e", "url": self.receiver.url("/"), "max_in_flight": MAX_IN_FLIGHT})])]
    }

    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()> {
        self.publisher.run(client, pending()).await;
        Ok(())
    }
}
