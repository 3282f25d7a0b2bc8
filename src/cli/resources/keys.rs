//! `carteiro keys`.

use clap::Subcommand;
use schemas::Scope;
use serde::Serialize;

use super::{Action, Actions, Args, NoFilter, ResourceArgs, ResourceFields, RotationArgs, TenantArg, arguments::Texts};
use crate::cli::words::word_list;

pub(crate) type KeyArgs = Args<KeyFields, TenantArg, KeyActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct KeyFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// What it allows, separated by commas.
    #[arg(long, value_name = "WORDS", value_parser = word_list::<Scope>())]
    scopes: Option<Texts>,
}

impl ResourceFields for KeyFields {
    const NAME: &'static str = "key";
    const COLLECTION: &'static str = "keys";
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("id", "id"), ("name", "name"), ("scopes", "scopes")];
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyActions {
    /// Replace it with a new key. The one before stays valid for a while.
    Rotate(RotationArgs),
}

impl Actions for KeyActions {
    fn action(self) -> (ResourceArgs<TenantArg>, Action) {
        let Self::Rotate(rotation) = self;
        rotation.action("/rotate", "is another one now")
    }
}
