//! Checks sources and keys, which give access to a tenant.

use schemas::{ChannelId, Key, SourceConfig};

use super::{id, secret};
use crate::invalid_field::ValidationReport;

pub(super) fn check_source(source: &SourceConfig, report: &mut ValidationReport) {
    report.key("id", |report| id::check(&source.id, report));
    secret::check_fields(source, report);
    if matches!(&source.channel_id, Some(ChannelId::Text(text)) if text.is_empty()) {
        report.key("channel_id", |report| report.add("is empty"));
    }
}

/// Checks a key. The type of its hash accepts nothing but hashes.
pub(super) fn check_key(key: &Key, report: &mut ValidationReport) {
    report.key("id", |report| id::check(&key.id, report));
    secret::check_fields(key, report);
    if key.scopes.is_empty() {
        report.key("scopes", |report| report.add("is empty: the key would allow nothing"));
    }
}
