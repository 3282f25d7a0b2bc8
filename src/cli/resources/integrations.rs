//! `carteiro integrations`: external flows and the queues bound to them, with the fields of the vendors' screens.

use clap::Subcommand;
use schemas::{Format, Signature};
use serde::Serialize;
use serde_json::{Map, Value};
use service::Exit;

use super::{
    CollectionArgs, NoFilter, ResourceCommand, ResourceFields, TenantArg,
    arguments::secret,
    endpoints::{EndpointActions, LOST_WITH_ENDPOINT},
    flags::name_flags,
    open,
    queues::QueueFields,
    run_command,
};
use crate::cli::{client::Method, setup::Setup, words::word};

#[derive(Debug, clap::Args)]
pub(crate) struct IntegrationArgs {
    #[command(subcommand)]
    command: IntegrationCommand,
}

#[derive(Debug, Subcommand)]
enum IntegrationCommand {
    #[command(flatten)]
    Resource(ResourceCommand<IntegrationFields, TenantArg, EndpointActions>),
    /// Bind a queue to an integration, which then gets the queue's messages: the same as `queues set`.
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
    /// Bind a queue to no integration: the same as `queues delete`.
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
    /// Kind of its signatures.
    #[arg(long, value_parser = word::<Signature>())]
    signature: Option<String>,
}

impl ResourceFields for IntegrationFields {
    const NAME: &'static str = "integration";
    const COLLECTION: &'static str = "integrations";
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "id"),
        ("name", "name"),
        ("format", "format"),
        ("state", "state"),
        ("endpoint", "endpoint_id"),
        ("url", "url"),
    ];
    const LOST_WITH_IT: Option<&'static str> = Some(LOST_WITH_ENDPOINT);
}

pub(crate) async fn run(setup: &Setup, args: IntegrationArgs) -> anyhow::Result<Exit> {
    match args.command {
        IntegrationCommand::Resource(command) => run_command(setup, command).await,
        IntegrationCommand::Bind { queue_id, integration, start_on_transfer, collection } => {
            let mut binding = Map::new();
            binding.insert("integration_id".to_owned(), integration.into());
            binding.insert("start_on_transfer".to_owned(), Value::from(start_on_transfer));
            let queues = open::<QueueFields, TenantArg>(setup, &collection)?;
            queues.write(Method::PUT, &queue_id, binding).await.map_err(name_flags::<QueueFields>)
        }
        IntegrationCommand::Unbind { queue_id, collection } => {
            open::<QueueFields, TenantArg>(setup, &collection)?.delete(&queue_id).await
        }
    }
}
