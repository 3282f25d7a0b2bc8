//! Checks subscriptions.

use std::collections::HashSet;

use schemas::{IdSet, Subscription};

use super::id;
use crate::invalid_field::ValidationReport;

/// Checks everything that does not depend on the rest of the configuration.
pub(super) fn check(subscription: &Subscription, report: &mut ValidationReport) {
    report.key("id", |report| id::check_ownable(&subscription.id, report));
    check_ids("channel_ids", subscription.channel_ids.as_ref(), report);
    check_ids("queue_ids", subscription.queue_ids.as_ref(), report);
    if subscription.start_on_transfer && subscription.queue_ids.as_ref().is_none_or(|ids| ids.0.is_empty()) {
        report
            .key("start_on_transfer", |report| report.add("needs queue_ids: the queues a transfer to which starts it"));
    }
}

/// Checks that the subscription's endpoint is one of the tenant's.
pub(super) fn check_endpoint(subscription: &Subscription, endpoints: &HashSet<&str>, report: &mut ValidationReport) {
    if !endpoints.contains(subscription.endpoint_id.as_str()) {
        report.key("endpoint_id", |report| report.add("the tenant has no such endpoint"));
    }
}

fn check_ids(key: &'static str, ids: Option<&IdSet>, report: &mut ValidationReport) {
    if ids.is_some_and(|ids| ids.0.contains("")) {
        report.key(key, |report| report.add("has an empty id"));
    }
}
