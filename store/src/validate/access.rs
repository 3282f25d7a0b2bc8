//! What gives access to a tenant: sources and keys.

use schemas::{ChannelId, Key, SourceConfig};

use super::{id, secret};
use crate::invalid_field::ValidationReport;

/// A token is the only thing that protects a source whose sender shows no key: a shorter one can be guessed.
const SHORTEST_TOKEN: usize = 8;

/// What fits a line of any log or form of a vendor's.
const LONGEST_TOKEN: usize = 256;

/// A source.
pub(super) fn check_source(source: &SourceConfig, report: &mut ValidationReport) {
    report.key("id", |report| id::check(&source.id, report));
    report.key("token", |report| {
        secret::check(&source.token, report);
        check_token(source.token.reveal(), report);
    });
    if let Some(old) = &source.old_token {
        report.key("old_token", |report| {
            report.key("secret", |report| {
                secret::check(&old.secret, report);
                check_token(old.secret.reveal(), report);
            });
        });
    }
    if matches!(&source.channel_id, Some(ChannelId::Text(text)) if text.is_empty()) {
        report.key("channel_id", |report| report.add("is empty"));
    }
    if let Some(key) = &source.n8n_api_key {
        report.key("n8n_api_key", |report| secret::check_sent(key, report));
    }
}

/// It is a segment of a URL's path, and must arrive as it was written.
fn check_token(token: &str, report: &mut ValidationReport) {
    if token == schemas::MASK || token.is_empty() {
        return;
    }
    if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len()) {
        report.add(format!("must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters"));
    } else if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~=+@:,!$*".contains(&byte)) {
        report.add("expected letters, digits and -._~=+@:,!$*: it is part of a URL's path");
    }
}

/// A key. The form of its hash is its type's concern.
pub(super) fn check_key(key: &Key, report: &mut ValidationReport) {
    report.key("id", |report| id::check(&key.id, report));
    if key.scopes.is_empty() {
        report.key("scopes", |report| report.add("is empty: the key would allow nothing"));
    }
}
