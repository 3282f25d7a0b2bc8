//! `carteiro tenants`.

use serde::Serialize;

use super::{Args, NoActions, NoFilter, ResourceFields, arguments::Installation};

pub(crate) type TenantArgs = Args<TenantFields, Installation, NoActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct TenantFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    quota: QuotaFields,
    #[command(flatten)]
    retention: RetentionFields,
}

#[derive(Debug, clap::Args, Serialize)]
struct RetentionFields {
    /// Retention: time that events, deliveries and attempts are kept, such as 14d, if shorter than for everybody.
    #[arg(long, value_name = "TIME")]
    history: Option<String>,
    /// Retention: time that bodies are kept, if shorter than for everybody.
    #[arg(long, value_name = "TIME")]
    bodies: Option<String>,
}

#[derive(Debug, clap::Args, Serialize)]
struct QuotaFields {
    /// Quota: most events a second that it may publish.
    #[arg(long, value_name = "N")]
    events_per_second: Option<f64>,
    /// Quota: most endpoints.
    #[arg(long, value_name = "N")]
    endpoints: Option<u64>,
    /// Quota: most subscriptions.
    #[arg(long, value_name = "N")]
    subscriptions: Option<u64>,
    /// Quota: most sources.
    #[arg(long, value_name = "N")]
    sources: Option<u64>,
    /// Quota: most keys.
    #[arg(long, value_name = "N")]
    keys: Option<u64>,
    /// Quota: most dead letters that are kept with their bodies.
    #[arg(long, value_name = "N")]
    dead_letters: Option<u64>,
    /// Quota: bytes of dead letters up to which these are kept with their bodies, instead of a share of the log.
    #[arg(long, value_name = "BYTES")]
    dead_letter_bytes: Option<u64>,
}

impl ResourceFields for TenantFields {
    const NAME: &'static str = "tenant";
    const COLLECTION: &'static str = "tenants";
    type Filter = NoFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("id", "id"), ("name", "name"), ("quota", "quota")];
    const LOST_WITH_IT: Option<&'static str> = Some(
        "with its endpoints, subscriptions, sources and keys; what still waits for it becomes dead letters that cannot be \
         replayed",
    );
}
