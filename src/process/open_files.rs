//! How many files the process may have open: every request to an endpoint is one. Most systems give 1,024 unless asked,
//! for the sake of `select(2)`, which nothing here uses, and allow a process to ask for many more itself.

use super::Roles;
use crate::config::Config;

/// Beside the requests: databases, logs, listeners, connections to the broker and the store.
const OTHERS: u64 = 512;

/// Asks for as many as are allowed, and says so where they are not enough.
pub(super) fn ask_for_all(config: &Config, roles: Roles) {
    let needed = needed(config, roles);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(limit, needed, "files.few"),
        Ok(limit) => tracing::debug!(limit, needed, "files.allowed"),
        Err(error) => tracing::warn!(%error, needed, "files.unknown"),
    }
}

/// With all slots taken.
fn needed(config: &Config, roles: Roles) -> u64 {
    let slots = u64::from(config.deliverer.slots) + u64::from(config.deliverer.slow_slots);
    OTHERS + if roles.deliverer { slots } else { 0 }
}
