//! `carteiro tail`: events and deliveries as they happen.

use serde_json::Value;
use service::Exit;

use super::{
    deliveries, events,
    follow::{Followed, pause},
};
use crate::cli::{
    client::ApiArgs,
    logs::{LogClient, Query},
    output::Output,
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Only of this tenant. The operator sees all tenants without it; a tenant's key needs it.
    #[arg(long)]
    tenant: Option<String>,
    /// Any id of an event, a delivery, a ticket or a contact, a `webhook-id`, a protocol or a number.
    #[arg(long, short = 'q')]
    q: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn run(setup: &Setup, args: TailArgs) -> anyhow::Result<Exit> {
    let client = LogClient::new(&args.api, setup)?;
    let query: Query = args.q.into_iter().map(|text| ("q", text)).collect();
    let clock = service::clock::system();
    let followed = |collection| {
        let path = client.path(collection, args.tenant.as_deref()).0;
        Followed::new(&client, path, query.clone(), clock())
    };
    let (mut of_events, mut of_deliveries) = (followed("events"), followed("deliveries"));
    loop {
        of_events.look(clock(), &mut |event: &Value| events::print(event, args.output)).await?;
        of_deliveries.look(clock(), &mut |one: &Value| deliveries::print(one, args.output)).await?;
        if !pause().await {
            return Ok(Exit::Done);
        }
    }
}
