//! `carteiro sources`.

use std::convert::Infallible;

use clap::Subcommand;
use schemas::Dialect;
use serde::Serialize;
use serde_json::Value;

use super::{
    Action, Actions, Args, NoFilter, ResourceArgs, ResourceFields, RotationArgs, TenantArg, arguments::secret,
};
use crate::cli::words::word;

pub(crate) type SourceArgs = Args<SourceFields, TenantArg, SourceActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct SourceFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// The vendor whose webhooks come in.
    #[arg(long, value_parser = word::<Dialect>())]
    dialect: Option<String>,
    /// Channel of bodies that name none.
    #[arg(long, value_name = "ID", value_parser = channel_id)]
    channel_id: Option<ChannelIdArg>,
    /// Whether the body is kept for endpoints of format original.
    #[arg(long, value_name = "BOOL")]
    keep_original: Option<bool>,
    /// The X-N8N-API-KEY that senders must show; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
}

/// A channel's id. One that is written as a number stays a number, as in the vendor's bodies.
#[derive(Clone, Debug, Serialize)]
struct ChannelIdArg(Value);

#[expect(clippy::unnecessary_wraps, reason = "clap requires a Result of a value parser")]
fn channel_id(text: &str) -> Result<ChannelIdArg, Infallible> {
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    Ok(ChannelIdArg(number.map_or_else(|| text.into(), Value::from)))
}

impl ResourceFields for SourceFields {
    const NAME: &'static str = "source";
    const COLLECTION: &'static str = "sources";
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("id", "id"), ("name", "name"), ("dialect", "dialect"), ("channel", "channel_id")];
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourceActions {
    /// Make a new token for its URL. The one before stays valid for a while.
    #[command(visible_alias = "rotate-token")]
    Rotate(RotationArgs),
}

impl Actions for SourceActions {
    fn action(self) -> (ResourceArgs<TenantArg>, Action) {
        let Self::Rotate(rotation) = self;
        rotation.action("/token/rotate", "has a new token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_written_as_a_number_stays_one() {
        for (text, expected) in [("7", Value::from(7)), ("007", "007".into()), ("loja 1", "loja 1".into())] {
            let Ok(id) = channel_id(text);
            assert_eq!(id.0, expected);
        }
    }
}
