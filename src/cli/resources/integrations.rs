//! `carteiro integrations`: external flows, and the queues that are bound to them, as the vendors' screens have it.

use clap::Subcommand;
use serde_json::json;
use service::Exit;

use super::{
    body::{Body, Unset},
    call::Place,
    fields::IntegrationFields,
    home::{At, OfTenant, One},
};
use crate::cli::{client::Method, setup::Setup};

const COLUMNS: [(&str, &str); 4] = [("id", "id"), ("name", "name"), ("format", "format"), ("url", "url")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all.
    List {
        #[command(flatten)]
        at: At<OfTenant>,
    },
    /// Show one.
    Show(One<OfTenant>),
    /// Make one; an id that is taken is refused.
    Create {
        /// Its id; left out, one is made.
        id: Option<String>,
        #[command(flatten)]
        body: Body<IntegrationFields>,
        #[command(flatten)]
        at: At<OfTenant>,
    },
    /// Make one, or replace it.
    Set {
        #[command(flatten)]
        one: One<OfTenant>,
        #[command(flatten)]
        body: Body<IntegrationFields>,
        #[command(flatten)]
        unset: Unset,
    },
    /// Change some of its fields, by a JSON Merge Patch.
    Patch {
        #[command(flatten)]
        one: One<OfTenant>,
        #[command(flatten)]
        body: Body<IntegrationFields>,
        #[command(flatten)]
        unset: Unset,
    },
    /// Delete one; its queues are then bound to none.
    Delete(One<OfTenant>),
    /// Bind a queue to one: its messages go there.
    Bind {
        /// The queue.
        #[arg(value_name = "QUEUE_ID")]
        queue_id: String,
        /// To which.
        #[arg(long, value_name = "ID")]
        integration: String,
        /// Begin at once when a ticket is transferred there, with the last message received.
        #[arg(long)]
        start_on_transfer: bool,
        #[command(flatten)]
        at: At<OfTenant>,
    },
    /// Bind a queue to none.
    Unbind {
        /// The queue.
        #[arg(value_name = "QUEUE_ID")]
        queue_id: String,
        #[command(flatten)]
        at: At<OfTenant>,
    },
}

pub(crate) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let place = |at: &At<OfTenant>| Place::new(setup, at, "integration", "integrations");
    let queue = |at: &At<OfTenant>| {
        Place::new(setup, at, "integration of queue", "queues").map(|place| place.view("/integration"))
    };
    match args.verb {
        Verb::List { at } => place(&at)?.list(&COLUMNS).await,
        Verb::Show(One { id, at }) => place(&at)?.show(&id).await,
        Verb::Create { id, body, at } => place(&at)?.create(id.as_deref(), body.read()?).await,
        Verb::Set { one: One { id, at }, body, unset } => {
            place(&at)?.write(Method::PUT, &id, unset.of(body.read()?)).await
        }
        Verb::Patch { one: One { id, at }, body, unset } => {
            place(&at)?.write(Method::PATCH, &id, unset.of(body.read()?)).await
        }
        Verb::Delete(One { id, at }) => place(&at)?.delete(&id).await,
        Verb::Bind { queue_id, integration, start_on_transfer, at } => {
            let binding = json!({"integration_id": integration, "start_on_transfer": start_on_transfer});
            let binding = binding.as_object().cloned().unwrap_or_default();
            queue(&at)?.write(Method::PUT, &queue_id, binding).await
        }
        Verb::Unbind { queue_id, at } => queue(&at)?.delete(&queue_id).await,
    }
}
