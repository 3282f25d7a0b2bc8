//! What all that can be managed has in common: where it is, which verbs it takes, and which calls they are.

use std::fmt::Debug;

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;
use service::Exit;

use super::{
    body::{Body, Unset},
    call::Place,
    home::{At, Home, OfTenant, One},
};
use crate::cli::{client::Method, setup::Setup};

/// A kind of things that the API has a collection of.
pub(crate) trait Kind {
    /// One of them, in words.
    const NAME: &'static str;
    /// The collection, in the API's paths.
    const COLLECTION: &'static str;
    /// The columns of a list: heading and field.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// Whose they are.
    type Home: clap::Args + Debug + Home;
    /// The flags of their common fields, which serialize as those fields.
    type Fields: clap::Args + Debug + Serialize;
    /// What else can be done with one of them.
    type More: Subcommand + Debug + More;
}

/// What can be done with one thing besides changing its fields.
pub(crate) trait More {
    /// With which, and by which call.
    fn step(self) -> (One<OfTenant>, Step);
}

/// One call about one thing.
pub(crate) struct Step {
    pub(crate) method: Method,
    /// What follows the thing's own path.
    pub(crate) path: &'static str,
    pub(crate) body: Option<Value>,
    /// What it then is, such as `enabled`; none where the answer is what was asked for.
    pub(crate) done: Option<&'static str>,
}

/// Nothing more.
#[derive(Debug, Subcommand)]
pub(crate) enum NoMore {}

impl More for NoMore {
    fn step(self) -> (One<OfTenant>, Step) {
        match self {}
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args<K: Kind> {
    #[command(subcommand)]
    verb: Verb<K>,
}

#[derive(Debug, Subcommand)]
enum Verb<K: Kind> {
    /// List all.
    List {
        #[command(flatten)]
        at: At<K::Home>,
    },
    /// Show one.
    Show(One<K::Home>),
    /// Make one; an id that is taken is refused.
    Create {
        /// Its id; left out, one is made.
        id: Option<String>,
        #[command(flatten)]
        body: Body<K::Fields>,
        #[command(flatten)]
        at: At<K::Home>,
    },
    /// Make one, or replace it: what is left out is as by default, but secrets are kept.
    Set(Change<K>),
    /// Change some of its fields, by a JSON Merge Patch.
    Patch(Change<K>),
    /// Delete one.
    Delete(One<K::Home>),
    #[command(flatten)]
    More(K::More),
}

/// What one thing is to be.
#[derive(Debug, clap::Args)]
struct Change<K: Kind> {
    #[command(flatten)]
    one: One<K::Home>,
    #[command(flatten)]
    body: Body<K::Fields>,
    #[command(flatten)]
    unset: Unset,
}

pub(crate) async fn run<K: Kind>(setup: &Setup, args: Args<K>) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::List { at } => Place::of::<K>(setup, &at)?.list(K::COLUMNS).await,
        Verb::Show(One { id, at }) => Place::of::<K>(setup, &at)?.show(&id).await,
        Verb::Create { id, body, at } => Place::of::<K>(setup, &at)?.create(id.as_deref(), body.read()?).await,
        Verb::Set(change) => write(setup, Method::PUT, change).await,
        Verb::Patch(change) => write(setup, Method::PATCH, change).await,
        Verb::Delete(One { id, at }) => Place::of::<K>(setup, &at)?.delete(&id).await,
        Verb::More(more) => {
            let (One { id, at }, step) = more.step();
            Place::new(setup, &at, K::NAME, K::COLLECTION)?.step(&id, step).await
        }
    }
}

async fn write<K: Kind>(setup: &Setup, method: Method, change: Change<K>) -> anyhow::Result<Exit> {
    let Change { one: One { id, at }, body, unset } = change;
    Place::of::<K>(setup, &at)?.write(method, &id, unset.of(body.read()?)).await
}
