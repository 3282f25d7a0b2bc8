//! `carteiro integrations`: external flows and the queues bound to them, with the fields of the vendors' screens.

use clap::Subcommand;
use schemas::Format;
use serde::Serialize;
use serde_json::{Map, Value};
use service::Exit;

use super::{
    CollectionArgs, ResourceArgs, TenantArg,
    arguments::{BodyArgs, UnsetArgs, secret},
    collection::Collection,
    endpoints::LOST_WITH_ENDPOINT,
    flags::name_flags,
};
use crate::cli::{client::Method, confirm::ConfirmArgs, setup::Setup, words::word};

const COLUMNS: [(&str, &str); 4] = [("id", "id"), ("name", "name"), ("format", "format"), ("url", "url")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: IntegrationCommand,
}

#[derive(Debug, Subcommand)]
enum IntegrationCommand {
    /// List all.
    List {
        #[command(flatten)]
        collection: CollectionArgs<TenantArg>,
    },
    /// Show one.
    Show(ResourceArgs<TenantArg>),
    /// Create one. Refused where the id is taken.
    Create {
        /// Its id. Default: the API makes one.
        id: Option<String>,
        #[command(flatten)]
        body: BodyArgs<IntegrationFields>,
        #[command(flatten)]
        collection: CollectionArgs<TenantArg>,
    },
    /// Create one, or replace it.
    Set {
        #[command(flatten)]
        integration: ResourceArgs<TenantArg>,
        #[command(flatten)]
        body: BodyArgs<IntegrationFields>,
        #[command(flatten)]
        unset: UnsetArgs,
    },
    /// Change some of its fields, by a JSON Merge Patch.
    Patch {
        #[command(flatten)]
        integration: ResourceArgs<TenantArg>,
        #[command(flatten)]
        body: BodyArgs<IntegrationFields>,
        #[command(flatten)]
        unset: UnsetArgs,
    },
    /// Delete one. Its queues are then bound to none.
    Delete {
        #[command(flatten)]
        integration: ResourceArgs<TenantArg>,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Bind a queue to an integration, which then gets the queue's messages.
    Bind {
        /// The queue's id.
        #[arg(value_name = "QUEUE_ID")]
        queue_id: String,
        /// The integration's id.
        #[arg(long, value_name = "ID")]
        integration: String,
        /// Begin at once when a ticket is transferred there, with the last message received.
        #[arg(long)]
        start_on_transfer: bool,
        #[command(flatten)]
        collection: CollectionArgs<TenantArg>,
    },
    /// Bind a queue to no integration.
    Unbind {
        /// The queue's id.
        #[arg(value_name = "QUEUE_ID")]
        queue_id: String,
        #[command(flatten)]
        collection: CollectionArgs<TenantArg>,
    },
}

#[derive(Debug, clap::Args, Serialize)]
pub(super) struct IntegrationFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// URL that deliveries are posted to: its field `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// Key to send as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    /// Format of the body. Default: whazing.
    #[arg(long, value_parser = word::<Format>())]
    format: Option<String>,
}

pub(crate) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let integrations = |args: &CollectionArgs<TenantArg>| Collection::open(setup, args, "integration", "integrations");
    let queues = |args: &CollectionArgs<TenantArg>| {
        let queues = Collection::open(setup, args, "integration of queue", "queues");
        queues.map(|queues| queues.views("/integration"))
    };
    let done = match args.command {
        IntegrationCommand::List { collection } => integrations(&collection)?.list(&COLUMNS).await,
        IntegrationCommand::Show(ResourceArgs { id, collection }) => integrations(&collection)?.show(&id).await,
        IntegrationCommand::Create { id, body, collection } => {
            integrations(&collection)?.create(id.as_deref(), body.read()?).await
        }
        IntegrationCommand::Set { integration: ResourceArgs { id, collection }, body, unset } => {
            integrations(&collection)?.write(Method::PUT, &id, unset.apply_to(body.read()?)).await
        }
        IntegrationCommand::Patch { integration: ResourceArgs { id, collection }, body, unset } => {
            integrations(&collection)?.write(Method::PATCH, &id, unset.apply_to(body.read()?)).await
        }
        IntegrationCommand::Delete { integration: ResourceArgs { id, collection }, confirm } => {
            let integrations = integrations(&collection)?;
            confirm.confirm(&format!("integration {id} will be deleted, {LOST_WITH_ENDPOINT}"))?;
            integrations.delete(&id).await
        }
        IntegrationCommand::Bind { queue_id, integration, start_on_transfer, collection } => {
            let mut binding = Map::new();
            binding.insert("integration_id".to_owned(), integration.into());
            binding.insert("start_on_transfer".to_owned(), Value::from(start_on_transfer));
            queues(&collection)?.write(Method::PUT, &queue_id, binding).await
        }
        IntegrationCommand::Unbind { queue_id, collection } => queues(&collection)?.delete(&queue_id).await,
    };
    done.map_err(name_flags::<IntegrationFields>)
}
