//! `carteiro tenants`, `endpoints`, `subscriptions`, `sources`, `keys`, `channels`, `integrations` and `queues`: the
//! configured resources, shown and changed over the API. They share their commands: a resource adds its name, the flags of
//! its fields, and its own actions.

mod arguments;
mod channels;
mod collection;
mod endpoints;
mod flags;
mod integrations;
mod keys;
mod queues;
mod sources;
mod subscriptions;
mod tenants;

use std::fmt::Debug;

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};
use service::Exit;

use super::{client::Method, confirm::ConfirmArgs, setup::Setup};
use arguments::{BodyArgs, CollectionArgs, Owner, ResourceArgs, TenantArg, UnsetArgs};
use collection::{Action, Collection};

pub(super) use arguments::{Texts, secret};
pub(super) use channels::ChannelArgs;
pub(super) use collection::warn_shown_once;
pub(super) use endpoints::EndpointArgs;
pub(super) use integrations::{IntegrationArgs, run as integrations};
pub(super) use keys::KeyArgs;
pub(super) use queues::QueueArgs;
pub(super) use sources::SourceArgs;
pub(super) use subscriptions::SubscriptionArgs;
pub(super) use tenants::TenantArgs;

/// A resource with a collection in the API. The implementing type holds the flags of its fields and serializes as these
/// fields; a missing flag is null.
pub(super) trait ResourceFields: clap::Args + Debug + Serialize {
    const NAME: &'static str;
    const COLLECTION: &'static str;
    /// Flags of a list that leave some out.
    type Filter: ListFilter;
    /// Part of the path after the resource's id; empty for the resource itself.
    const VIEW: &'static str = "";
    /// True when the API makes an id for a resource that is created without one.
    const MAKES_IDS: bool = true;
    /// Columns of a list: heading and field, or the path of a field within one.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// What is lost besides the resource when it is deleted. A deletion with a loss has to be confirmed.
    const LOST_WITH_IT: Option<&'static str> = None;
}

/// The flags of a list that leave some resources out.
pub(super) trait ListFilter: clap::Args + Debug {
    fn shows(&self, item: &Value) -> bool;
}

#[derive(Debug, clap::Args)]
pub(super) struct NoFilter {}

impl ListFilter for NoFilter {
    fn shows(&self, _: &Value) -> bool {
        true
    }
}

/// Additional commands of one resource.
pub(super) trait Actions: Subcommand + Debug {
    fn action(self) -> (ResourceArgs<TenantArg>, Action);
}

#[derive(Debug, Subcommand)]
pub(super) enum NoActions {}

impl Actions for NoActions {
    fn action(self) -> (ResourceArgs<TenantArg>, Action) {
        match self {}
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Args<R: ResourceFields, O: Owner, A: Actions> {
    #[command(subcommand)]
    command: ResourceCommand<R, O, A>,
}

#[derive(Debug, Subcommand)]
enum ResourceCommand<R: ResourceFields, O: Owner, A: Actions> {
    /// List all.
    List {
        #[command(flatten)]
        collection: CollectionArgs<O>,
        #[command(flatten)]
        filter: R::Filter,
    },
    /// Show one.
    Show(ResourceArgs<O>),
    /// Create one. Refused where the id is taken.
    Create {
        /// Its id. Default: the API makes one, except for channels and queues.
        id: Option<String>,
        #[command(flatten)]
        body: BodyArgs<R>,
        #[command(flatten)]
        collection: CollectionArgs<O>,
    },
    /// Create one, or replace it: fields that are left out get their defaults, but secrets are kept.
    Set(WriteArgs<R, O>),
    /// Change some of its fields, by a JSON Merge Patch.
    Patch(WriteArgs<R, O>),
    /// Delete one, and what cannot be without it.
    Delete {
        #[command(flatten)]
        resource: ResourceArgs<O>,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    #[command(flatten)]
    Action(A),
}

#[derive(Debug, clap::Args)]
struct WriteArgs<R: ResourceFields, O: Owner> {
    #[command(flatten)]
    resource: ResourceArgs<O>,
    #[command(flatten)]
    body: BodyArgs<R>,
    #[command(flatten)]
    unset: UnsetArgs,
}

/// The flags of a rotation: of a signing secret, a source's token or a key.
#[derive(Debug, clap::Args)]
pub(crate) struct RotationArgs {
    #[command(flatten)]
    resource: ResourceArgs<TenantArg>,
    /// How long the replaced secret stays valid; `0s` ends it at once. Default: a day.
    #[arg(long, value_name = "DURATION")]
    overlap: Option<String>,
}

impl RotationArgs {
    fn action(self, path: &'static str, done: &'static str) -> (ResourceArgs<TenantArg>, Action) {
        let body = self.overlap.map(|overlap| json!({"overlap": overlap}));
        (self.resource, Action { body, ..Action::post(path, Some(done)) })
    }
}

pub(super) async fn run<R: ResourceFields, O: Owner, A: Actions>(
    setup: &Setup,
    args: Args<R, O, A>,
) -> anyhow::Result<Exit> {
    run_command(setup, args.command).await
}

async fn run_command<R: ResourceFields, O: Owner, A: Actions>(
    setup: &Setup,
    command: ResourceCommand<R, O, A>,
) -> anyhow::Result<Exit> {
    carry_out(setup, command).await.map_err(flags::name_flags::<R>)
}

async fn carry_out<R: ResourceFields, O: Owner, A: Actions>(
    setup: &Setup,
    command: ResourceCommand<R, O, A>,
) -> anyhow::Result<Exit> {
    match command {
        ResourceCommand::List { collection, filter } => {
            open::<R, O>(setup, &collection)?.list(R::COLUMNS, |item| filter.shows(item)).await
        }
        ResourceCommand::Show(one) => open::<R, O>(setup, &one.collection)?.show(&one.id).await,
        ResourceCommand::Create { id: None, .. } if !R::MAKES_IDS => {
            Err(anyhow::anyhow!("create: give the id that the platform uses").context(Exit::Usage))
        }
        ResourceCommand::Create { id, body, collection } => {
            open::<R, O>(setup, &collection)?.create(id.as_deref(), body.read()?).await
        }
        ResourceCommand::Set(args) => write(setup, Method::PUT, args).await,
        ResourceCommand::Patch(args) => write(setup, Method::PATCH, args).await,
        ResourceCommand::Delete { resource: ResourceArgs { id, collection }, confirm } => {
            let collection = open::<R, O>(setup, &collection)?;
            if let Some(loss) = R::LOST_WITH_IT {
                confirm.confirm(&format!("{} {id} will be deleted, {loss}", R::NAME))?;
            }
            collection.delete(&id).await
        }
        ResourceCommand::Action(action) => {
            let (one, action) = action.action();
            let acted = open::<R, TenantArg>(setup, &one.collection)?.act(&one.id, action).await;
            acted.map_err(flags::name_flags_of_actions::<A>)
        }
    }
}

fn open<R: ResourceFields, O: Owner>(setup: &Setup, args: &CollectionArgs<O>) -> anyhow::Result<Collection> {
    Collection::open(setup, args, R::NAME, R::COLLECTION, R::VIEW)
}

async fn write<R: ResourceFields, O: Owner>(
    setup: &Setup,
    method: Method,
    args: WriteArgs<R, O>,
) -> anyhow::Result<Exit> {
    let WriteArgs { resource, body, unset } = args;
    open::<R, O>(setup, &resource.collection)?.write(method, &resource.id, unset.apply_to(body.read()?)).await
}
