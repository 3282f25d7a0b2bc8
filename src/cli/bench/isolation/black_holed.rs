//! Some tenants have endpoints that accept requests and never answer.

use std::{future::pending, sync::Arc};

use serde_json::{Value, json};

use super::{
    Args,
    comparison::{Disturbance, Limit},
    tenant::{call_steadily, event, publish, receiver, tenant},
};
use crate::{
    cli::client::Client,
    receiver::{Answer, Receiver},
};

pub(super) struct BlackHoled {
    receiver: Receiver,
    tenants: u32,
    /// Events a second of all of them together.
    per_second: u32,
}

impl Disturbance for BlackHoled {
    const LIMIT: Limit = Limit { ratio: 1.2, p99_ms: 50.0 };
    const WARMS_UP: bool = true;

    async fn start(args: &Args) -> anyhow::Result<Self> {
        let per_second = (args.per_second * args.black_holed).div_ceil(args.tenants);
        Ok(Self { receiver: receiver(|_| Answer::Hang).await?, tenants: args.black_holed, per_second })
    }

    fn tenants(&self) -> Vec<Value> {
        let url = self.receiver.url("/black-holed");
        (0..self.tenants).map(|nth| tenant(&id(nth), &[json!({"id": "e", "url": url})])).collect()
    }

    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()> {
        if self.tenants == 0 {
            return Ok(());
        }
        let mut number = 0;
        let call = || {
            let (client, tenant, event) =
                (client.clone(), id(number % self.tenants), event(&format!("black-holed-{number}")));
            number += 1;
            async move {
                publish(&client, &tenant, &event).await;
            }
        };
        call_steadily(self.per_second, call, pending()).await;
        Ok(())
    }
}

fn id(nth: u32) -> String {
    format!("black-holed-{nth}")
}
