//! What `deliveries`, `events list`, `events show`, `stats` and `tail` share: the filter, and printing what history has.

mod deliveries;
mod events;
mod filter;
mod follow;
mod replay;
mod stats;
mod tail;

pub(super) use deliveries::{DeliveriesArgs, run as deliveries};
pub(super) use events::{
    ListArgs as EventListArgs, ShowArgs as EventShowArgs, list as list_events, show as show_event,
};
pub(super) use stats::{StatsArgs, run as stats};
pub(super) use tail::{TailArgs, run as tail};

use serde_json::Value;

use super::{client::path_segment, logs, output::cell};

/// Says on stderr that records are missing, so that nobody takes an empty list for an answer.
fn note_completeness(complete: bool) {
    if !complete {
        super::output::warning("history is not complete for this time: some records are missing, or have not come yet");
    }
}

fn item_path(tenant: &str, collection: &str, id: &str) -> String {
    format!("{}/{}", logs::tenant_path(tenant, collection), path_segment(id))
}

/// The cells of these fields; a dot leads into an object.
fn cells(item: &Value, fields: &[&str]) -> Vec<String> {
    fields
        .iter()
        .map(|field| cell(item.pointer(&format!("/{}", field.replace('.', "/"))).unwrap_or(&Value::Null)))
        .collect()
}
