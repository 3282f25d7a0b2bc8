//! What gives access to a tenant: sources and keys.

use schemas::{ChannelId, Key, SourceConfig};

use super::{id, secret};
use crate::problem::Report;

/// A source.
pub(super) fn check_source(source: &SourceConfig, report: &mut Report) {
    report.key("id", |report| id::check(&source.id, report));
    secret::check_fields(source, report);
    if matches!(&source.channel_id, Some(ChannelId::Text(text)) if text.is_empty()) {
        report.key("channel_id", |report| report.say("is empty"));
    }
}

/// A key. The form of its hash is its type's concern.
pub(super) fn check_key(key: &Key, report: &mut Report) {
    report.key("id", |report| id::check(&key.id, report));
    secret::check_fields(key, report);
    if key.scopes.is_empty() {
        report.key("scopes", |report| report.say("is empty: the key would allow nothing"));
    }
}
