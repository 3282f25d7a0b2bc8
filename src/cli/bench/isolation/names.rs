//! A tenant has endpoints whose names are never resolved. The healthy tenants have names, too, and no connection is kept,
//! so that each of their requests needs an address.

use std::{future::pending, sync::Arc};

use serde_json::{Value, json};

use super::{
    Args,
    comparison::Disturbance,
    name_server::{NameServer, SILENT},
    tenant::{call_steadily, event, publish, tenant},
};
use crate::cli::client::Client;

const TENANT: &str = "silent-names";
const EVENTS_PER_SECOND: u32 = 1;

pub(super) struct Names {
    server: NameServer,
    names: u32,
}

impl Disturbance for Names {
    async fn start(args: &Args) -> anyhow::Result<Self> {
        Ok(Self { server: NameServer::start().await?, names: args.silent_names })
    }

    fn tenants(&self) -> Vec<Value> {
        let endpoint = |nth| json!({"id": format!("e{nth}"), "url": format!("http://n{nth}.{SILENT}/")});
        vec![tenant(TENANT, &(0..self.names).map(endpoint).collect::<Vec<_>>())]
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("deliverer.name_servers", self.server.address.to_string()),
            ("deliverer.max_idle_connections", "0".to_owned()),
            ("router.max_fan_out", self.names.max(1_000).to_string()),
        ]
    }

    fn healthy_host(&self, nth: u32) -> String {
        format!("n{nth}.healthy.test")
    }

    async fn disturb(&self, client: &Arc<Client>) -> anyhow::Result<()> {
        let mut number = 0;
        let call = || {
            let (client, event) = (client.clone(), event(&format!("{TENANT}-{number}")));
            number += 1;
            async move {
                publish(&client, TENANT, &event).await;
            }
        };
        call_steadily(EVENTS_PER_SECOND, call, pending()).await;
        Ok(())
    }
}
